"""The nine steps of FlexoSIP: call, play two messages, print and send back the digits, until the other side hangs up.

python examples/demo.py demo.ini
"""

import configparser
import sys

from flexosip.classic import FlexoSIP
from flexosip.sync import Call


class Demo(FlexoSIP):
    def __init__(self, settings: configparser.ConfigParser) -> None:
        super().__init__()
        self.media = settings["media"]

    def event_answered(self, call: Call) -> None:
        print("answered")
        self.play(self.media["hello"])
        self.play_after_delay(500, self.media["menu"])

    def event_dtmf(self, digit: str) -> None:
        print("pressed", digit)
        self.stop_playing()
        self.send_dtmf(digit)

    def event_terminated(self, call: Call) -> None:
        print("ended:", call.end)
        self.quit()


def main(path: str) -> None:
    settings = configparser.ConfigParser()
    with open(path, encoding="utf-8") as file:
        settings.read_file(file)
    account, alert = settings["registration"], settings["alert"]
    phone = Demo(settings)
    phone.listen(port=settings.getint("network", "port", fallback=5060))
    phone.register(account["uri"], account["registrar"], account["login"], account["password"])
    phone.wait_registered()
    phone.call(account["uri"], alert["destination"], alert.get("name", "Demo"))
    while phone.running:
        phone.handle_event()


if __name__ == "__main__":
    main(sys.argv[1])
