"""How does the program begin? By looking for modules where they are installed, before it imports any of them."""

import sys

from ablation_suite.core.scheduling.isolation import own_path

sys.path[:] = own_path()


def main() -> None:
    """Run a verb, as `ablate` and as `python -m ablation_suite`."""
    from ablation_suite.cli import main

    main()


if __name__ == "__main__":
    main()
