#!/usr/bin/env python3
"""Replays a scenario with a known truth against a running Tessera, over HTTP.

    tessera --simulation &
    python3 tools/replay.py --key tsk_... scenario.json

The scenario is what `tessera simulate` reads. Every person is decided for, sees the creative, and
clicks with the probability that the scenario's truth gives what was shown; the click comes after the
scenario's delay. Printed are the regret beside an even choice (norm: 0 is the best possible, 1 is
even), the same for the first and the last tenth, and whether logged propensities are the truth.
Standard library only.
"""

import argparse
import bisect
import heapq
import http.client
import itertools
import json
import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

START = datetime(2026, 1, 5, tzinfo=timezone.utc)


class Service:
    """Speaks Tessera's API; one connection for each thread."""

    def __init__(self, url, key):
        self.url, self.key, self.local = urlsplit(url), key, threading.local()

    def call(self, method, path, body=None, at=None, headers=None):
        own = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        if at is not None:
            own["Tessera-Time"] = at
        data = None if body is None else json.dumps(body)
        for _ in range(60):
            status, answer, wait = self.once(method, path, data, own)
            if status not in (429, 503):
                break
            # it does nothing of what it has no room for
            time.sleep(wait)
        return status, answer

    def once(self, method, path, data, own):
        for last in (False, True):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=60)
            try:
                connection.request(method, path, data, own)
                answer = connection.getresponse()
                text = answer.read()
                wait = int(answer.getheader("Retry-After") or 1)
                return answer.status, json.loads(text) if text[:1] in (b"{", b"[") else text, wait
            except (OSError, http.client.HTTPException):
                self.local.connection = None
                if last:
                    raise

    def must(self, method, path, body=None, at=None, headers=None):
        status, answer = self.call(method, path, body, at, headers)
        if status >= 300:
            raise SystemExit(f"{method} {path} answered {status}: {answer}")
        return answer

    def put(self, path, body, at):
        status, answer = self.call("PUT", path, body, at, {"If-None-Match": "*"})
        # scenarios share segments
        if status >= 300 and not (status == 412 and path.startswith("/v1/segments/")):
            raise SystemExit(f"PUT {path} answered {status}: {answer}")


def zone(hour, at):
    """A time zone where it is that hour. POSIX counts what is east of Greenwich as negative."""
    east = (hour - at.hour + 12) % 24 - 12
    return f"Etc/GMT{-east:+d}" if east else "Etc/GMT"


class Truth:
    """The scenario's probabilities."""

    def __init__(self, spec):
        self.spec, self.known = spec, {}
        self.places = [{c: i for i, c in enumerate(slot["components"])} for slot in spec["slots"]]
        self.starts = [phase["from"] for phase in spec["truth"]["phases"]]

    def phase(self, step):
        return bisect.bisect_right(self.starts, step) - 1

    def rate(self, phase, features, choice):
        truth = self.spec["truth"]["phases"][phase]
        score = truth["bias"]
        for slot, one in enumerate(choice):
            score += truth["main"][slot][one]
        for feature in features:
            score += truth["feature_bias"].get(feature, 0.0)
            crossed = truth["feature_component"].get(feature)
            if crossed:
                score += sum(crossed[slot][one] for slot, one in enumerate(choice))
        for pair, table in truth["pair"].items():
            first, second = map(int, pair.split("-"))
            score += table[choice[first]][choice[second]]
        if truth.get("cell"):
            base = max(len(slot["components"]) for slot in self.spec["slots"])
            score += truth["cell"][sum(one * base**slot for slot, one in enumerate(choice))]
        return 1 / (1 + math.exp(-score))

    def rates(self, phase, features):
        """The rate of every combination, slot by slot: there may be tens of thousands."""
        truth, slots = self.spec["truth"]["phases"][phase], self.spec["slots"]
        crossed = [truth["feature_component"][feature] for feature in features if truth["feature_component"].get(feature)]
        base = max(len(slot["components"]) for slot in slots)
        partial = [((), 0, truth["bias"] + sum(truth["feature_bias"].get(feature, 0.0) for feature in features))]
        for d, slot in enumerate(slots):
            own = [truth["main"][d][i] + sum(cross[d][i] for cross in crossed) for i in range(len(slot["components"]))]
            open_ = [i for i in range(len(own)) if truth["available"][d][i]]
            pairs = [(int(pair.split("-")[0]), table) for pair, table in truth["pair"].items() if int(pair.split("-")[1]) == d]
            partial = [(choice + (i,), cell + i * base**d, score + own[i] + sum(table[choice[e]][i] for e, table in pairs))
                       for choice, cell, score in partial for i in open_]
        cells = truth.get("cell")
        return [1 / (1 + math.exp(-score - (cells[cell] if cells else 0.0))) for _, cell, score in partial]

    def of(self, phase, row):
        """The best rate, the mean rate and how many combinations there are, for a row of the population."""
        if (phase, row) not in self.known:
            rates = self.rates(phase, self.spec["population"][row]["features"])
            self.known[phase, row] = (max(rates), sum(rates) / len(rates), len(rates))
        return self.known[phase, row]


def documents(spec, name, available):
    """What an author would write for the scenario."""
    slots = {slot["id"]: {"type": "text", "max_length": 64, "default": "-"} for slot in spec["slots"]}
    fields = "".join(f"<p>{{{{{slot['id']}}}}}</p>" for slot in spec["slots"])
    yield f"/v1/advertisers/{name}", {"name": name, "domain": f"{name}.example"}
    for segment in sorted({s for row in spec["population"] for s in row["request"]["segments"]}):
        yield f"/v1/segments/{segment}", {"name": segment, "rule": {"v": 1, "kind": "static"}}
    yield f"/v1/templates/{name}", {"name": name, "format": "html", "size": "300x250", "slots": slots,
                                    "markup": f'<body><a href="{{{{click_url}}}}">{fields}</a></body>'}
    yield f"/v1/creatives/{name}", {"name": name, "advertiser": name, "templates": [name]}
    for d, slot in enumerate(spec["slots"]):
        for i, component in enumerate(slot["components"]):
            if available[d][i]:
                yield f"/v1/creatives/{name}/components/{component}", {"slot": slot["id"], "value": component}


def campaign(name):
    return {"name": name, "advertiser": name, "status": "active", "creatives": [name], "rotation": "optimized", "goal": "click",
            "landing_url": f"https://{name}.example/"}


def replay(spec, options):
    service, truth, wave = Service(options.url, options.key), Truth(spec), options.wave
    name = "replay-" + "".join(c for c in spec["name"].lower() if c.isalnum() or c == "-")[:40]
    steps = min(options.steps or spec["T"], spec["T"])
    clock = lambda step: START + timedelta(milliseconds=step * spec["step_ms"])
    when = lambda step: clock(step).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    available = spec["truth"]["phases"][0]["available"]
    for path, body in documents(spec, name, available):
        service.put(path, body, when(0))
    service.must("POST", f"/v1/creatives/{name}/publish", {}, when(0))
    service.put(f"/v1/campaigns/{name}", campaign(name), when(0))
    service.must("POST", "/v1/simulation/refresh", None, when(0))
    draw = random.Random(f"{spec['seed']}/{options.seed}")
    weights = list(itertools.accumulate(row["weight"] for row in spec["population"]))
    people = [bisect.bisect(weights, draw.random() * weights[-1]) for _ in range(steps)]
    luck = [draw.random() for _ in range(steps)]
    feedback = spec["feedback"]
    late = lambda: feedback["delay"] if feedback["kind"] == "fixed" else draw.expovariate(1 / feedback["mean"])
    delays = [late() for _ in range(steps)]
    regret, even, due, odd, weight = [0.0] * steps, [0.0] * steps, [], 0, []

    def decide(step):
        row = people[step]
        request = spec["population"][row]["request"]
        answer = service.must("POST", "/v1/decisions", {
            "placements": [{"id": "p", "sizes": ["300x250"], "candidates": {"campaign": name}}],
            "user": {"key": f"{name}-{options.seed}-{step}", "segments": request["segments"]},
            "context": {"geo": {"country": request["geo"]}, "device": {"type": request["device"]},
                        **({"time_zone": zone(request["hour"], clock(step))} if "hour" in request else {})},
            "consent": {"asserted": ["basic", "profile_read", "measure"]} if options.consent else {},
            "explain": "full" if step % options.explain == 0 else "none"}, when(step))
        item = answer["placements"]["p"][0]
        service.must("GET", urlsplit(item["impression_url"]).path, None, when(step))
        return step, item

    with ThreadPoolExecutor(options.connections) as pool:
        step = 0
        while step < steps:
            end = min([step + wave, steps] + [start for start in truth.starts if start > step])
            for at, item in pool.map(decide, range(step, end)):
                phase, row = truth.phase(at), people[at]
                choice = [truth.places[d].get(item["components"][slot["id"]]) for d, slot in enumerate(spec["slots"])]
                best, mean, count = truth.of(phase, row)
                if None in choice or not all(spec["truth"]["phases"][phase]["available"][d][i] for d, i in enumerate(choice)):
                    odd += 1
                    rate = 0.0
                else:
                    rate = truth.rate(phase, spec["population"][row]["features"], choice)
                regret[at], even[at] = best - rate, best - mean
                if item.get("propensity"):
                    weight.append(1 / (count * item["propensity"]))
                if luck[at] < rate and not (feedback["kind"] == "exponential" and delays[at] > feedback["window"]):
                    heapq.heappush(due, (at + delays[at], urlsplit(item["click_url"]).path))
            step = end
            clicks = []
            while due and due[0][0] <= step:
                clicks.append(heapq.heappop(due))
            list(pool.map(lambda click: service.call("GET", click[1], None, when(click[0])), clicks))
            service.must("POST", "/v1/simulation/refresh", None, when(step))
            if step in truth.starts and step < steps:
                now, before = (spec["truth"]["phases"][truth.phase(s)]["available"] for s in (step, step - 1))
                for d, slot in enumerate(spec["slots"]):
                    for i, component in enumerate(slot["components"]):
                        path = f"/v1/creatives/{name}/components/{component}"
                        if now[d][i] and not before[d][i]:
                            service.put(path, {"slot": slot["id"], "value": component}, when(step))
                        if before[d][i] and not now[d][i]:
                            service.must("DELETE", path, None, when(step), {"If-Match": "*"})
                service.must("POST", f"/v1/creatives/{name}/publish", {}, when(step))
                service.must("POST", "/v1/simulation/refresh", None, when(step))
            if options.verbose and step % 5_000 < wave:
                print(f"{step}: norm {sum(regret[:step]) / max(sum(even[:step]), 1e-12):.3f}", flush=True)
    norm = lambda part: sum(regret[part]) / max(sum(even[part]), 1e-12)
    result = {"scenario": spec["name"], "decisions": steps, "norm": norm(slice(None)), "norm_t10": norm(slice(steps // 10)),
              "end_norm": norm(slice(steps * 9 // 10, None)), "served_unavailable": odd}
    if weight:
        mean = sum(weight) / len(weight)
        error = math.sqrt(sum((w - mean) ** 2 for w in weight)) / len(weight)
        result["mean_weight_to_even"] = {"mean": mean, "standard_error": error}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="+")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--key", required=True, help="a key that may author, decide and report")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many decisions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wave", type=int, default=100, help="decisions between two refreshes")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--explain", type=int, default=50, help="ask every so many decisions how likely they were")
    parser.add_argument("--consent", action="store_true", help="assert consent, for populations in the EEA")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    for file in options.scenario:
        with open(file, encoding="utf-8") as text:
            print(json.dumps(replay(json.load(text), options), indent=1), flush=True)


if __name__ == "__main__":
    main()
