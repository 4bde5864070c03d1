#!/usr/bin/env python3
"""The C++ examples of docs/testing.md are those that are compiled and run: documented_examples_test.py SOURCE_FOLDER"""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
examples = re.findall(r"^```cpp\n(.*?)^```", (root / "docs/testing.md").read_text(), re.MULTILINE | re.DOTALL)
compiled = (root / "tests/actors/documented_test.cpp").read_text()
strange = [example for example in examples if example not in compiled]
for example in strange:
    print("not in tests/actors/documented_test.cpp, as it stands in docs/testing.md:\n" + example)
if not examples:
    print("docs/testing.md has no example")
sys.exit(1 if strange or not examples else 0)
