"""What a realm that streams one short answer at a time loses to one with many long answers in flight: see flood.py."""

from flood import main

main("answers")
