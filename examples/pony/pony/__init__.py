"""Pony: riders register for brevets, and get a mail that confirms it."""
