"""Random histories of a mount: what is done to it, and what a simple model says must be seen.

    dice = random.Random(7)
    history = make_history(dice)             [(operation, arguments...), ...], literals only
    shrink(history, fails)                   the fewest operations for which fails(history) holds
    model = Model(number)                     what is to be seen while a history goes on

tests/fuzz/world.py does to a mount what a history says, and asks the model.

The model is what the design says of names, counts, bytes and the cache, in the plainest way: a
dictionary of names, read anew after each change. It knows nothing of inodes, faces or nodeids.

Every operation makes sense after any other, so that any subset of a history is a history: reading
from an empty slot does nothing. Where the mount is free to choose, so is the model: what is known
of a blob is True (resident), False (cold) or None (either), and None becomes what the mount says.
"""

import datetime
import json

from tests.lib.stack import raw

PACKAGES = ["p0", "p1", "p2"]
TABLES = ["t0", "t1", "t2", "t3"]
DOMAINS = ["d0", "d1"]
CONTENTS = 6
SIZES = [9, 4096, 100, 20_000, 4097, 70_000]  # of the contents; around pages, and several reads
SLOTS = 4
ALWAYS = [raw(b"anchor"), b"# always\n"]  # listed beside them, so that no section is empty
DAY = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


# --- histories ---

def make_changes(dice, count):
    """How the stack changes before a refresh."""
    changes = []
    for _ in range(count):
        kind = dice.choices(["list", "unlist", "content", "direct", "undirect", "withdraw", "domain",
                             "undomain"], [6, 3, 6, 2, 1, 1, 2, 1])[0]
        changes.append((kind, *{
            "list": lambda: (dice.choice(PACKAGES), dice.choice(TABLES)),
            "unlist": lambda: (dice.choice(PACKAGES), dice.choice(TABLES)),
            "content": lambda: (dice.choice(TABLES), dice.randrange(CONTENTS)),
            "direct": lambda: (dice.choice(TABLES),),
            "undirect": lambda: (dice.choice(TABLES),),
            "withdraw": lambda: (dice.choice(PACKAGES),),
            "domain": lambda: (dice.choice(DOMAINS), dice.randrange(CONTENTS)),
            "undomain": lambda: (dice.choice(DOMAINS),),
        }[kind]()))
    return changes


def random_path(dice):
    if dice.random() < 0.15:
        return f"memory/{dice.choice(DOMAINS)}/bundle.md"
    return f"data/{dice.choice(PACKAGES + ['_direct'])}/{dice.choice(TABLES)}.parquet"


def random_folder(dice):
    return dice.choice(["data", "memory", "data/_direct"] + [f"data/{name}" for name in PACKAGES])


OPERATIONS = {  # name: (how often of a thousand, what makes its arguments)
    "stat": (150, lambda dice: (random_path(dice),)),
    "xattrs": (90, lambda dice: (random_path(dice),)),
    "list": (70, lambda dice: (random_folder(dice),)),
    "list_long": (60, lambda dice: (random_folder(dice),)),
    "open": (160, lambda dice: (dice.randrange(SLOTS), random_path(dice))),
    "read": (150, lambda dice: (dice.randrange(SLOTS), dice.randrange(0, 80_000, 1000),
                                dice.choice([1, 10, 4096, 30_000, 100_000]))),
    "map": (60, lambda dice: (dice.randrange(SLOTS),)),
    "look_at_open": (70, lambda dice: (dice.randrange(SLOTS),)),
    "close": (40, lambda dice: (dice.randrange(SLOTS),)),
    "open_folder": (30, lambda dice: (dice.randrange(SLOTS), random_folder(dice))),
    "list_open": (20, lambda dice: (dice.randrange(SLOTS),)),
    "stat_at": (30, lambda dice: (dice.randrange(SLOTS), f"{dice.choice(TABLES)}.parquet")),
    "forget": (20, lambda dice: ()),
    "look_up_much": (3, lambda dice: ()),
    "generation_is": (5, lambda dice: ()),
    "sync": (35, lambda dice: (make_changes(dice, dice.randrange(5)),)),
    "evict": (10, lambda dice: ()),
    "lose": (10, lambda dice: (random_path(dice),)),
    "restart": (2, lambda dice: ()),
    "kill": (1, lambda dice: ()),
}


def make_history(dice, length=50):
    names = list(OPERATIONS)
    weights = [OPERATIONS[name][0] for name in names]
    history = [("sync", make_changes(dice, 24))]
    for name in dice.choices(names, weights, k=length - 1):
        history.append((name, *OPERATIONS[name][1](dice)))
    return history


def thin(items, fails):
    """As few of them as can be found for which fails() still holds."""
    size = max(len(items) // 2, 1)
    while items:
        before, at = len(items), 0
        while at < len(items):
            fewer = items[:at] + items[at + size:]
            if fails(fewer):
                items = fewer
            else:
                at += size
        if size == 1 and len(items) == before:
            break
        size = max(size // 2, 1)
    return items


def shrink(history, fails):
    """Takes away what is not needed to make it fail: operations, then what syncs change."""
    history = thin(history, fails)
    for at, operation in enumerate(history):
        if operation[0] == "sync":
            def with_changes(changes, at=at):
                return history[:at] + [("sync", changes)] + history[at + 1:]

            history = with_changes(thin(operation[1], lambda some: fails(with_changes(some))))
    return history


# --- the model ---

class Model:
    """What is to be seen. A key is (kind, number of the content); names are paths."""

    def __init__(self, number=0):
        self.number = number  # of the history: no content is that of another one
        self.contents = {}  # table -> number
        self.packages = {}  # slug -> set of tables
        self.direct = set()
        self.domains = {}  # slug -> number
        self.manifest = None  # as it was last written
        self.names = {}  # path -> key, as published
        self.folders = set()
        self.resident = {}  # key -> True, False, None
        self.vague = set()  # keys of which it remains None, see doubt
        self.read = set()  # keys of which the kernel may hold pages

    def bytes(self, key):
        kind, number = key
        word = f"{number}.{self.number} {kind} ".encode()
        if kind == "bundle":
            return b"# " + word * (number + 1)
        return raw((word * (SIZES[number] // len(word) + 1))[:SIZES[number]])

    def updated(self, number):
        return DAY + datetime.timedelta(hours=number, seconds=self.number)

    def change(self, kind, *arguments):
        if kind == "list":
            self.packages.setdefault(arguments[0], set()).add(arguments[1])
        elif kind == "unlist":
            self.packages.get(arguments[0], set()).discard(arguments[1])
        elif kind == "content":
            self.contents[arguments[0]] = arguments[1]
        elif kind == "direct":
            self.direct.add(arguments[0])
        elif kind == "undirect":
            self.direct.discard(arguments[0])
        elif kind == "withdraw":
            self.packages.pop(arguments[0], None)
        elif kind == "domain":
            self.domains[arguments[0]] = arguments[1]
        elif kind == "undomain":
            self.domains.pop(arguments[0], None)

    def key_of(self, table):
        return "table", self.contents.get(table, TABLES.index(table))

    def write(self, stack):
        for kept in (stack.files, stack.rows, stack.packages, stack.domains, stack.direct_tables):
            kept.clear()
        anchor = stack.add_table("anchor", ALWAYS[0])
        stack.add_package("always", anchor)
        stack.add_direct(anchor)
        stack.add_domain("always", ALWAYS[1].decode())
        for table in TABLES:
            stack.add_table(table, self.bytes(self.key_of(table)),
                            updated=self.updated(self.key_of(table)[1]).isoformat())
        for slug, tables in sorted(self.packages.items()):
            stack.add_package(slug, *[stack.rows[table] for table in sorted(tables)])
        for table in sorted(self.direct):
            stack.add_direct(stack.rows[table])
        for slug, number in sorted(self.domains.items()):
            stack.add_domain(slug, self.bytes(("bundle", number)).decode())
        stack.write()
        return stack.manifest()

    def publish(self, stack):
        """The stack becomes what the mount will show at its next refresh."""
        manifest = json.dumps(self.write(stack))
        news, self.manifest = manifest != self.manifest, manifest
        old, new = self.names, {}
        for slug, tables in [*self.packages.items(), ("_direct", self.direct)]:
            new |= {f"data/{slug}/{table}.parquet": self.key_of(table) for table in tables}
        for slug, number in self.domains.items():
            new[f"memory/{slug}/bundle.md"] = "bundle", number
        known = dict(self.resident)
        for path, key in new.items():
            if key not in old.values() and known.get(key, False) is not False:
                self.note(key, None)  # it had been removed, or was about to be
            self.resident.setdefault(key, False)
        for path, key in new.items():
            was = known.get(old.get(path), False)
            if key[0] == "bundle":
                # only its bytes tell its key, so it is fetched with the manifest
                was = known.get(key, False)
                self.note(key, True if was or (news and was is False) else None)
            elif old.get(path, key) != key and was is not False and not self.resident[key]:
                self.note(key, was)  # an update makes no readable file unreadable
        self.names = new
        self.folders = {"data", "memory", "data/_direct", *(f"data/{slug}" for slug in self.packages)}

    def note(self, key, resident):
        """What is known of a blob now."""
        self.resident[key] = None if key in self.vague else resident

    def doubt(self, keys):
        """Their files may be there without being believed, or gone without being missed."""
        self.vague |= {key for key in keys if self.resident.get(key, False) is not False}
        for key in self.vague:
            self.note(key, None)

    def references(self, key):
        return sum(1 for other in self.names.values() if other == key)

    def size(self, key):
        return len(self.bytes(key))

    def seen_by_handle(self, path, key):
        """The key of the bytes that an open file reads on with, whatever happens to its name."""
        return key

    def listing(self, folder):
        """The names in a folder, without what agnesfs generates and what is always there."""
        below = {path[len(folder) + 1:].split("/")[0]
                 for path in [*self.names, *self.folders] if path.startswith(folder + "/")}
        return below - {"_direct"}


