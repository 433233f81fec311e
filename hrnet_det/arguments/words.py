"""Words of the command line that several commands take."""

import argparse

MOST = 2**31  # of a number that counts something


def sides(word: str) -> tuple[int, ...]:
    """The shorter side in pixels, or it and the longer one."""
    try:
        return tuple(map(int, word.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word!r}: give pixels: 800 or 800,1333") from error


def count(word: str) -> int:
    """A whole number above 0."""
    if not word.isdecimal() or not 0 < int(word) < MOST:
        raise argparse.ArgumentTypeError(f"{word!r}: give a whole number of at least 1")
    return int(word)


def allow_pickle(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="permit a file that runs code when it is loaded, if you trust who wrote it",
    )
