"""The `slipher` command: reads arguments, calls the library, prints. Whatever computes is elsewhere.

Answers go to stdout; everything else goes to stderr: what could not be read, notes, and progress (to terminals only).
With `--json`, stdout holds one JSON object a line and nothing else.

Exit status:

- 0: every galaxy is answered. Flags are answers.
- 2: wrong usage, such as a model that does not exist. Nothing was done.
- 3: something could not be read, fitted or written: each such file or galaxy is named on stderr as
  `slipher: PATH (ID): message`, and the rest is still answered. A failure inside slipher counts here too: it is named,
  with its type, and the galaxies after it are still fitted.

`commands` holds the commands, `declared` what is declared of tables, `targets` what happens to many files, `terminal` what is printed.
"""

from slipher.cli.commands import app


def main() -> None:
    """Entry point of the `slipher` script."""
    app()
