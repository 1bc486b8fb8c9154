"""How a row is measured and judged.

A side is a function that does the work once and returns seconds, or {part: seconds}. interleave()
runs the sides in turn, A B A B, and keeps every sample. A row compares the medians of two of them:

    at_least=0.95   baseline / ours: how fast we are where 1 is as fast
    at_most=1.10    ours / baseline: how long we take where 1 is as long

A baseline that does not hold still proves nothing: its spread, (max - min) / median, may be 15 %.
Where it is more, rounds are added, up to three times as many; what counts then is the calmest
series of the wanted number of consecutive rounds, chosen by the baseline alone.
"""

import dataclasses
import statistics
import sys
import traceback

SPREAD = 0.15


@dataclasses.dataclass
class Series:
    samples: list

    @property
    def median(self):
        return statistics.median(self.samples)

    @property
    def spread(self):
        return (max(self.samples) - min(self.samples)) / self.median if self.median else 0.0

    def document(self):
        return {"median": self.median, "min": min(self.samples), "max": max(self.samples),
                "spread": self.spread, "samples": self.samples}


@dataclasses.dataclass
class Row:
    id: str
    what: str
    bar: str = ""
    verdict: str = "failed"  # met, missed, unjudged, quick, failed (to be measured), shown
    value: float | None = None
    unit: str = ""  # of value; "" is a ratio
    ours: Series | None = None
    baseline: Series | None = None
    against: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    def document(self):
        found = dataclasses.asdict(self)
        for name in ("ours", "baseline"):
            series = getattr(self, name)
            found[name] = series.document() if series else None
        return found

    def __str__(self):
        value = "" if self.value is None else f"{self.value:.4g} {self.unit}".strip()
        return f"{self.id:4} {self.what:58} {value:>12}  {self.bar:14} {self.verdict} {self.note}"


class Bench:
    def __init__(self, rounds=7, quick=False, wanted=None):
        self.rounds = rounds
        self.quick = quick
        self.wanted = wanted
        self.rows = []

    def wants(self, *ids):
        return not self.wanted or bool(self.wanted & set(ids))

    def size(self, full, quick):
        return quick if self.quick else full

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    # --- measuring ---

    def interleave(self, sides, base=None, patient=True):
        """{side: [samples]}, or {side: {part: [samples]}}; base: whose calm is waited for."""
        found = {side: {} for side in sides}
        most = self.rounds * (3 if patient and base and not self.quick else 1)
        for done in range(1, most + 1):
            for side, work in sides.items():
                result = work()
                parts = result if isinstance(result, dict) else {"": result}
                for part, seconds in parts.items():
                    found[side].setdefault(part, []).append(seconds)
            if done >= self.rounds and (not base or all(
                    self._calm(samples) for samples in found[base].values())):
                break
        return {side: parts[""] if list(parts) == [""] else parts for side, parts in found.items()}

    def _calm(self, samples):
        start = self._calmest(samples)
        return Series(samples[start:start + self.rounds]).spread <= SPREAD

    def _calmest(self, samples):
        starts = range(max(1, len(samples) - self.rounds + 1))
        return min(starts, key=lambda at: Series(samples[at:at + self.rounds]).spread)

    # --- judging ---

    def compare(self, id, what, ours, baseline, against, note="", **bar):
        """A row of seconds against seconds."""
        if not self.wants(id):
            return None
        start = self._calmest(baseline)
        ours = Series(ours[start:start + self.rounds])
        baseline = Series(baseline[start:start + self.rounds])
        ratio = ours.median / baseline.median if "at_most" in bar else baseline.median / ours.median
        row = Row(id, what, value=ratio, ours=ours, baseline=baseline, against=against, note=note,
                  **bar)
        return self._judge(row, baseline)

    def absolute(self, id, what, samples, unit, note="", baseline=None, **bar):
        """A row that stands for itself; baseline: samples that must have been calm for it."""
        if not self.wants(id):
            return None
        ours = Series(list(samples))
        row = Row(id, what, value=ours.median, unit=unit, ours=ours, note=note, **bar)
        calm = None
        if baseline:
            start = self._calmest(baseline)
            calm = Series(baseline[start:start + self.rounds])
        return self._judge(row, calm)

    def _judge(self, row, baseline):
        if row.at_least is not None:
            row.bar = f"≥ {row.at_least:g} {row.unit}".strip()
        elif row.at_most is not None:
            row.bar = f"≤ {row.at_most:g} {row.unit}".strip()
        if not row.bar:
            row.verdict = "shown"
        elif self.quick:
            row.verdict = "quick"
        elif baseline and baseline.spread > SPREAD:
            row.verdict = "unjudged"
            row.note = f"{row.note}; the baseline's spread is {baseline.spread:.0%}".lstrip("; ")
        else:
            good = (row.value >= row.at_least if row.at_least is not None
                    else row.value <= row.at_most)
            row.verdict = "met" if good else "missed"
        self.rows.append(row)
        print(row, flush=True)
        return row

    def fail(self, id, what, note, bar=""):
        """A row that could not be measured, or of which that is the answer."""
        if not self.wants(id):
            return
        row = Row(id, what, bar=bar, note=note)
        self.rows.append(row)
        print(row, flush=True)

    def group(self, ids, function, site):
        """Measures a group of rows; what goes wrong in it fails those that it did not reach."""
        if not self.wants(*ids):
            return
        known = len(self.rows)
        try:
            with site.folder(ids[0]) as place:
                function(self, site, place)
        except Exception as error:
            traceback.print_exc()
            reached = {row.id for row in self.rows[known:]}
            wanted = [id for id in ids if self.wants(id)]
            for id in [id for id in wanted if id not in reached] or wanted[-1:]:
                self.fail(id, "(not finished)", f"{type(error).__name__}: {str(error)[:300]}")

    @property
    def good(self):
        return bool(self.rows) and not any(row.verdict in ("missed", "failed") for row in self.rows)
