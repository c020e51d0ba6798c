"""Runs the README's Python blocks, and fails unless they print what the README shows."""

import doctest
import pathlib
import re
import sys

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text("utf-8")

if __name__ == "__main__":
    source = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))
    test = doctest.DocTestParser().get_doctest(source, {}, "README", "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    failed = runner.run(test).failed
    print(f"{len(test.examples)} lines of the README, {failed} that do not print what they show")
    sys.exit(failed > 0 or len(test.examples) < 15)
