"""Sets the decisions of the demo's people side by side, as pages for scripts/screenshots.

    python3 scripts/screenshots.py FOLDER PERSON...

FOLDER/PERSON.json are answers of /v1/decisions. Ends with 1 where one of them is not what it should be.
"""

import html
import json
import pathlib
import sys
import urllib.error
import urllib.request

STYLE = """
body { margin: 0; padding: 32px; background: #eceef0; color: #20262b; font: 14px/1.4 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 4px; font-size: 26px; letter-spacing: -.01em; }
header p { margin: 0 0 24px; color: #55606a; font-size: 15px; }
section { display: flex; gap: 32px; margin-bottom: 28px; padding: 22px 26px 20px; border-radius: 14px; background: #fff; box-shadow: 0 1px 3px rgb(0 0 0 / 12%); }
h2 { margin: 0; font-size: 20px; }
.why { margin: 2px 0 14px; color: #55606a; }
.why code { padding: 1px 6px; border-radius: 5px; background: #e8efe9; color: #1d5a45; font-size: 12px; }
.sizes { width: 728px; }
.row { display: flex; justify-content: space-between; margin-top: 16px; }
.row > div > figure + figure { margin-top: 16px; }
iframe { display: block; border: 0; }
figure { margin: 0; }
figcaption { margin-top: 6px; color: #7a858e; font-size: 11px; }
.card { width: 344px; border-radius: 12px; overflow: hidden; border: 1px solid #dfe3e6; background: #fff; }
.card > img { display: block; width: 100%; height: 180px; object-fit: cover; }
.card div { padding: 12px 14px 14px; }
.card .by { display: flex; align-items: center; gap: 7px; margin: 0 0 6px; color: #66717a; font-size: 12px; }
.card .by img { width: 20px; height: 20px; }
.card b { display: block; font-size: 17px; line-height: 1.2; }
.card p { margin: 5px 0 12px; color: #48535c; font-size: 13px; }
.card i { display: inline-block; padding: 7px 14px; border-radius: 7px; background: #20262b; color: #fff; font-style: normal; font-weight: 600; font-size: 13px; }
"""


def frame(item):
    size = f'{item["width"]} x {item["height"]}'
    source = html.escape(item["markup"], quote=True)
    return f'<figure><iframe width="{item["width"]}" height="{item["height"]}" title="{size}" srcdoc="{source}"></iframe><figcaption>{size}</figcaption></figure>'


def address(value):
    return value["src"] if isinstance(value, dict) else value


def card(item):
    """A native item as an app might draw it."""
    shown = {name: value for name, value in item["content"].items() if value is not None}
    text = {name: html.escape(str(shown.get(name, ""))) for name in ("headline", "body", "cta", "sponsor")}
    image, logo = (html.escape(address(shown[name])) for name in ("image", "logo"))
    return f"""<figure><div class="card"><img src="{image}" alt="">
<div><p class="by"><img src="{logo}" alt="">{text["sponsor"]} &middot; Sponsored</p><b>{text["headline"]}</b><p>{text["body"]}</p><i>{text["cta"]}</i></div></div>
<figcaption>native</figcaption></figure>"""


def check_pictures(item):
    """Ends where a picture that the item shows does not load."""
    for value in item["content"].values():
        for one in value if isinstance(value, list) else [value]:
            picture = one.get("image", one) if isinstance(one, dict) else {}
            if "src" in picture:
                try:
                    urllib.request.urlopen(picture["src"], timeout=10).close()
                except urllib.error.URLError as error:
                    raise SystemExit(f'{picture["src"]}: {error}') from None


def section(person, answer):
    placements = {}
    for name, items in answer["placements"].items():
        item = items[0]
        if item["status"] != "filled" or item["fallback_level"] not in ("personalised", "contextual"):
            raise SystemExit(f'{person}, {name}: {item["status"]}, {item.get("fallback_level")}, {item.get("degraded")}')
        check_pictures(item)
        placements[name] = item
    first = placements["rectangle"]
    matched = [*dict.fromkeys(key for item in placements.values() for key in item.get("segments_matched", []))]
    matched = " ".join(f"<code>{html.escape(key)}</code>" for key in matched) or "no segment: the defaults"
    return f"""<section><div class="sizes"><h2>{person.replace("-", " ").capitalize()}</h2>
<p class="why">{html.escape(first["campaign"])}, revision {first["revision"]} &middot; {first["fallback_level"]} &middot; {matched}</p>
{frame(placements["leaderboard"])}
<div class="row"><div>{frame(first)}{frame(placements["banner"])}</div>{card(placements["card"])}</div></div>
{frame(placements["skyscraper"])}</section>"""


def page(folder, name, title, body, height):
    text = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>'
    (folder / f"{name}.html").write_text(text, encoding="utf-8")
    (folder / f"{name}.size").write_text(f"1036,{height}")


def main():
    folder, people = pathlib.Path(sys.argv[1]), sys.argv[2:]
    answers = {person: json.loads((folder / f"{person}.json").read_text(encoding="utf-8")) for person in people}
    shown = {person: answer["placements"]["rectangle"][0].get("markup") for person, answer in answers.items()}
    contents = {json.dumps(answer["placements"]["rectangle"][0]["content"], sort_keys=True) for answer in answers.values()}
    if len(contents) != len(people) or not all(shown.values()):
        raise SystemExit("two people were shown the same creative")
    sections = {person: section(person, answer) for person, answer in answers.items()}
    head = "<header><h1>One creative, four people</h1><p>Larkfell Outfitters, a shop that does not exist. Each row answers one request to /v1/decisions.</p></header>"
    page(folder, "demo", "One creative, four people", head + "".join(sections.values()), 116 + len(people) * 692)
    for person, body in sections.items():
        page(folder, person, person, body, 728)


main()
