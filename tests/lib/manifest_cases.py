"""The cases of tests/data/manifests.txt, as their head says that they are to be read.

    for case in manifest_cases():
        case.source                 "server", "https", "static"
        case.text(origin)           the manifest, bytes
        case.verdict                its lines
        case.fits(lines)            are these the verdict's?
"""

import re
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "data/manifests.txt"
TOKEN = re.compile(r"\$([A-Z0-9]+)|\\x([0-9a-fA-F]{2})|\\\((\d+) ([^)]*)\)", re.S)


class Case:
    def __init__(self, number, words, source, frame, text):
        self.number, self.words, self.source = number, words, source
        self.frame, self.raw = frame, text
        self.verdict = []

    def __repr__(self):
        return f"{FILE.name}:{self.number}: {self.raw[:100]}"

    def text(self, origin):
        def replace(token):
            word, byte, count, text = token.groups()
            if word:
                return (origin if word == "ORIGIN" else self.words[word]).replace("'", '"').encode()
            return bytes([int(byte, 16)]) if byte else text.replace("'", '"').encode() * int(count)

        made, at = [], 0
        for token in TOKEN.finditer(self.raw):
            made += [self.raw[at:token.start()].replace("'", '"').encode(), replace(token)]
            at = token.end()
        made.append(self.raw[at:].replace("'", '"').encode())
        before, _, after = self.frame.replace("'", '"').encode().partition(b"%")
        return before + b"".join(made) + after

    @property
    def rejected(self):
        return self.verdict[0].removeprefix("reject: ") if self.of("reject: ") else None

    def of(self, start):
        return [line for line in self.verdict if line.startswith(start)]

    def fits(self, start, lines):
        """lines: all that there are of those that begin so, in any order."""
        left = list(lines)
        for line in self.of(start):
            head, _, second = line.partition(" || ")
            choices = {head, head[:head.index(": ") + 2] + second} if second else {head}
            found = choices.intersection(left)
            if not found:
                return False
            left.remove(found.pop())
        return not left


def manifest_cases():
    words, cases, frame, case = {}, [], None, None
    for number, line in enumerate(FILE.read_text().split("\n"), 1):
        if line.startswith("let "):
            _, name, text = line.split(" ", 2)
            words[name] = re.sub(r"\$([A-Z0-9]+)", lambda word: words[word[1]], text)
        elif line.startswith("frame "):
            frame = line.split(" ", 2)[1:]
        elif line.startswith("?"):
            case = Case(number, words, *frame, line[2:])
            cases.append(case)
        elif case and line:
            case.verdict.append(re.sub(r"\$([A-Z0-9]+)", lambda word: words.get(word[1], word[0]),
                                       line))
        else:
            case = None
    return cases
