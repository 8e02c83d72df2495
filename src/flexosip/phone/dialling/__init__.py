"""Placing calls: targets, who we show, redirections, several phones at once."""
