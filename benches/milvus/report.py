"""What was measured, as lines of JSON and as a table."""

import json
import os
import statistics

from probes import KINDS


class Report:
    """Collects rounds; each is written to the file, when there is one, as soon as it is over."""

    def __init__(self, file, about):
        self.file = file
        self.about = {**about, "cores": os.cpu_count(), "load_before": load()}
        self.rounds = []
        self.late = []

    def add(self, store, fault, number, gaps, fell, failures):
        one = {"store": store, "fault": fault, "round": number, "gaps_s": rounded(gaps), "fell": fell, "failures": failures}
        self.rounds.append(one)
        self.write({"kind": "round", **self.about, **one})
        shown = "  ".join(f"{kind} {seconds(gap)}" for kind, gap in gaps.items())
        print(f"{store} {fault} {number}: {shown}{'; ended by themselves: ' + ', '.join(fell) if fell else ''}", flush=True)

    def afterwards(self, store, fell):
        """Processes that ended by themselves when all rounds were over."""
        self.late += fell
        self.write({"kind": "afterwards", **self.about, "store": store, "fell": fell})
        print(f"{store}: a keepalive later, {', '.join(fell) or 'nobody'} had ended by itself", flush=True)

    def write(self, record):
        if self.file:
            with open(self.file, "a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")

    def end(self):
        """Prints medians and maxima for each store and fault; whether all rounds were good."""
        rows = [["store", "fault", "rounds", *KINDS, "fell"]]
        for store, fault in dict.fromkeys((one["store"], one["fault"]) for one in self.rounds):
            rounds = [one for one in self.rounds if (one["store"], one["fault"]) == (store, fault)]
            columns = {kind: [one["gaps_s"][kind] for one in rounds] for kind in KINDS}
            fell = sorted({name for one in rounds for name in one["fell"]})
            medians = {kind: median(gaps) for kind, gaps in columns.items()}
            longest = {kind: longest_of(gaps) for kind, gaps in columns.items()}
            self.write(
                {
                    "kind": "summary", **self.about, "load_after": load(), "store": store, "fault": fault,
                    "rounds": len(rounds), "median_s": medians, "max_s": longest, "fell": fell,
                }
            )
            cells = [f"{seconds(medians[kind])} ({seconds(longest[kind])})" for kind in KINDS]
            rows.append([store, fault, str(len(rounds)), *cells, ", ".join(fell) or "none"])
        print("\nlongest time without a success, in seconds: median of the rounds (maximum)")
        for line in table(rows):
            print(line)
        print(f"load {self.about['load_before']} before and {load()} after; {self.about}")
        return not self.late and not any(one["fell"] or None in one["gaps_s"].values() for one in self.rounds)


def load():
    return round(os.getloadavg()[0], 2)


def rounded(gaps):
    return {kind: None if gap is None else round(gap, 3) for kind, gap in gaps.items()}


def median(gaps):
    """A gap that did not end counts as longer than any."""
    ordered = sorted(float("inf") if gap is None else gap for gap in gaps)
    middle = statistics.median(ordered)
    return None if middle == float("inf") else round(middle, 3)


def longest_of(gaps):
    return None if None in gaps else max(gaps)


def seconds(gap):
    return "no end" if gap is None else f"{gap:.2f}"


def table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for number, row in enumerate(rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
