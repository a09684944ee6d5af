"""What a real app would keep out of its repository: here it has nothing to hide. Installed with mode 400."""

MAIL_SERVER_USER = "pony"
MAIL_SERVER_PASSWORD = ""
