"""What the app of a health worker writes by itself: telemetry, feedback, tasks and targets."""

from datetime import UTC, datetime
from random import Random
from typing import Any

from include.demo.contacts import iso
from include.demo.malformed import number, spoil_time
from include.demo.names import APP_VERSIONS, DEVICES, LANGUAGES
from include.demo.plan import DAY, Plan

Doc = dict[str, Any]


def user_name(plan: Plan, index: int) -> str:
    """Return the login name of a user, the last one of the deployment after the first again."""
    return f"chw_{index % plan.counts['user']}"


def telemetry(plan: Plan, index: int) -> Doc:
    """Return the telemetry of one user's device, for a day, or for a month from an app before 3.8.0."""
    rng, turn = plan.random("telemetry", index), plan.malformation("telemetry", index)
    version, user = rng.choice(APP_VERSIONS), user_name(plan, index)
    day = datetime.fromtimestamp(plan.moment(rng, 500) / 1000, UTC)
    device = plan.uuid("device", index % plan.counts["user"])
    old = version == "3.7.0"
    # Apps before 3.8.0 counted the months from 0 and sent no day.
    date = {"year": day.year, "month": day.month - 1} if old else {"year": day.year, "month": day.month, "day": day.day}
    name = "-".join(str(part) for part in date.values())
    metadata: Doc = {**date, "user": user, "deviceId": device}
    metadata["versions"] = {"app": version, "forms": {"pregnancy": "3-5b1f", "delivery": "2-77aa"}, "settings": "9-1c"}
    if turn is not None and turn % 3 == 0:
        metadata["month"] = number(turn // 3, 1)
    doc: Doc = {"_id": f"telemetry-{name}-{user}-{device}-{index}", "type": "telemetry", "metadata": metadata}
    doc |= {"metrics": _metrics(rng, turn), "device": _device(rng, index % plan.counts["user"], turn)}
    doc["dbInfo"] = {"doc_count": number(turn, rng.randrange(200, 9000)), "update_seq": rng.randrange(10**5)}
    return doc


def _metrics(rng: Random, turn: int | None) -> Doc:
    names = ("boot_time", "tasks:load", "contact_list:load", "enketo:reports:assessment:add:render")
    return {name: _metric(rng) for name in names} | {
        "boot_time": _metric(rng) | {"min": number(turn, round(rng.uniform(300, 3000), 2))}
    }


def _metric(rng: Random) -> Doc:
    low, count = round(rng.uniform(300, 3000), 2), rng.randrange(1, 9)
    high = round(low * rng.uniform(1, 4), 2)
    return {"sum": round(count * (low + high) / 2, 2), "min": low, "max": high, "count": count, "sumsqr": low * high}


def _device(rng: Random, user: int, turn: int | None) -> Doc:
    maker, model, android, build = DEVICES[user % len(DEVICES)]
    browser = f"AppleWebKit/537.36 Chrome/{90 + user % 30}.0"
    agent = f"Mozilla/5.0 (Linux; Android {android}; {model} Build/{build}; wv) {browser}"
    doc: Doc = {"userAgent": agent, "hardwareConcurrency": 8, "screen": {"width": 360, "height": 772}}
    # A browser on a desk has no device information.
    if user % 11 != 10:
        doc["deviceInfo"] = {
            "app": {"version": "v1.5.2", "packageName": "org.medicmobile.webapp.mobile", "versionCode": 105020},
            "software": {"androidVersion": android, "osApiLevel": 29, "osVersion": f"4.14.186({build})"},
            "hardware": {"device": model, "model": model, "manufacturer": maker, "hardware": "mt6765"},
            "storage": {"free": number(turn, rng.randrange(10**8, 10**10)), "total": 25_000_000_000},
            "ram": {"free": rng.randrange(10**8, 10**9), "total": 1_900_000_000, "threshold": 150_994_944},
            "network": {"downSpeed": rng.randrange(100, 30_000), "upSpeed": rng.randrange(100, 12_000)},
        }
    return doc


def feedback(plan: Plan, index: int) -> Doc:
    """Return an error report, mostly of the app itself."""
    rng = plan.random("feedback", index)
    time, user = plan.moment(rng, 300), user_name(plan, index)
    source = rng.choice(("automatic", "automatic", "manual"))
    doc: Doc = {"_id": f"feedback-{iso(time)}-{plan.uuid('feedback', index)}", "type": "feedback"}
    doc["meta"] = {
        "time": iso(time), "url": f"https://cht.example.org/#/tasks/{index}", "app": "medic", "version": "4.15.0",
        "user": {"name": user, "app_version": "4.15.0", "language": rng.choice(LANGUAGES)},
        "source": source, "deviceId": plan.uuid("device", index % plan.counts["user"]),
    }  # fmt: skip
    if source == "manual":
        doc["info"] = rng.choice(("The app is slow", "एप खुल्दैन", "መተግበሪያው አይከፈትም", "L'écran reste blanc 😡"))
    else:
        message = rng.choice(("Failed to fetch", "InvalidStateError: the connection is closing", "timeout"))
        doc["info"] = {"message": message, "cause": rng.choice((None, "{}", {"code": 500})), "stack": "at main.js:1:9"}
    doc["log"] = [{"level": "error", "arguments": f"Error {n}: {doc['_id']}", "time": iso(time - n)} for n in range(4)]
    spoil_time(doc["meta"], plan.malformation("feedback", index), "time")
    return doc


def task(plan: Plan, index: int) -> Doc:
    """Return a task of a health worker, in one of its states."""
    rng = plan.random("task", index)
    user, authored = f"org.couchdb.user:{user_name(plan, index)}", plan.moment(rng, 60)
    person = rng.randrange(plan.counts["person"])
    source = plan.uuid("report", rng.randrange(max(1, plan.counts["report"])))
    state = rng.choice(("Draft", "Ready", "Completed", "Failed", "Cancelled"))
    emission = f"{source}~anc.pregnancy_home_visit.{rng.randrange(9)}"
    doc: Doc = {
        "_id": f"task~{user}~{emission}~{authored}~{index}",
        "type": "task",
        "authoredOn": authored,
        "user": user,
    }
    doc |= {"owner": plan.uuid("person", person), "requester": plan.uuid("person", 0), "state": state}
    doc["stateReason"] = ""
    doc["stateHistory"] = [{"state": "Draft", "timestamp": authored}, {"state": state, "timestamp": authored + DAY}]
    doc["emission"] = {
        "_id": emission, "forId": plan.uuid("person", person), "title": "task.anc.pregnancy_home_visit.title",
        "icon": "icon-pregnancy", "deleted": False, "resolved": state == "Completed",
        "actions": [{"type": "report", "form": "pregnancy_home_visit", "label": "Home visit"}],
        "startDate": iso(authored)[:10], "dueDate": iso(authored + 7 * DAY)[:10],
        "endDate": iso(authored + 14 * DAY)[:10],
    }  # fmt: skip
    return doc


def target(plan: Plan, index: int) -> Doc:
    """Return the targets of a health worker for a month."""
    rng = plan.random("target", index)
    user, updated = f"org.couchdb.user:{user_name(plan, index)}", plan.moment(rng, 360)
    owner, period = plan.uuid("person", 10 * (index % plan.counts["user"])), iso(updated)[:7]
    doc: Doc = {"_id": f"target~{period}~{owner}~{user}~{index}", "type": "target", "user": user, "owner": owner}
    doc |= {"reporting_period": period, "updated_date": updated - updated % DAY, "targets": []}
    for name in ("births-this-month", "active-pregnancies", "assessments-all-time", "facility-deliveries"):
        total = rng.randrange(50)
        passed = rng.randrange(total + 1)
        doc["targets"].append({"id": name, "value": {"pass": passed, "total": total, "percent": 2 * passed}})
    return doc
