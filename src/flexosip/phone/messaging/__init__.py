"""Messages and states: MESSAGE, INFO packages, what a phone follows, tells and publishes."""
