#!/usr/bin/env bash
# A marketer's whole job over REST: from an upload to what serves, and back. Prints what the service says.
set -euo pipefail

case "${1:-}" in
-h | --help)
    cat <<'HELP'
Usage: docs/tour-marketer.sh [NAME]

Creates an advertiser, a template and a creative on a running service, uploads 40 variants with images,
ties offers to their legal texts, looks at every pair of them on one page, is refused, puts it right,
publishes, decides, changes its mind and goes back. NAME (tour) begins every id: take another one to
run it again. Needs curl and jq. TESSERA_URL (http://127.0.0.1:8080) and TESSERA_ADMIN_KEY say where;
the page is written to SHEET (a temporary file, whose name is told).
HELP
    exit 0
    ;;
esac

cd "$(dirname "$0")/.."
name=${1:-tour}
url=${TESSERA_URL:-http://127.0.0.1:8080}
key=${TESSERA_ADMIN_KEY:?the admin key that the service printed}
sheet=${SHEET:-$(mktemp -d)/preview.html}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n# %s\n' "$*"; }
call() {
    local method=$1 path=$2
    shift 2
    # an overloaded service says when to come back
    curl -sS --retry 5 -X "$method" "$url$path" -H "Authorization: Bearer $key" "$@"
}
json() { call "$@" -H 'Content-Type: application/json'; }
new() {
    local answer status
    answer=$(json PUT "$1" -H 'If-None-Match: *' -d "$2")
    jq -c 'if .status then {title, status, detail, errors} else {id, version} end' <<<"$answer"
    status=$(jq '.status // 200' <<<"$answer")
    [ "$status" != 412 ] || echo "$1 is there already: take another NAME (docs/tour-marketer.sh NAME)" >&2
    [ "$status" = 200 ] || exit 1
}
draft=/v1/creatives/$name-spring

say "a brand, and where its clicks may lead"
new "/v1/advertisers/$name-northwind" '{"name": "Northwind Outfitters", "domain": "northwind.example"}'

say "a template with typed slots; one that lets a slot into a script is refused with its place"
json PUT "/v1/templates/$name-unsafe" -H 'If-None-Match: *' -d '{"name": "Unsafe", "format": "html", "size": "300x250",
  "slots": {"headline": {"type": "text", "default": "Hello"}},
  "markup": "<body>\n<button onclick=\"say({{headline}})\">Go</button></body>"}' | jq -c '.errors[] | {pointer, code, detail}'
new "/v1/templates/$name-300x250" '{"name": "Spring 300x250", "format": "html", "size": "300x250", "slots": {
    "hero": {"type": "image", "width": 300, "height": 120, "default": {"src": "https://northwind.example/hero.png", "alt": "A shoe on a trail", "width": 300, "height": 120}},
    "headline": {"type": "text", "max_length": 40, "default": "New this week"},
    "offer": {"type": "text", "max_length": 30, "optional": true, "default": null},
    "legal": {"type": "legal", "max_length": 80, "optional": true, "default": null},
    "cta": {"type": "text", "max_length": 16, "default": "Shop now"},
    "ink": {"type": "color", "default": "#1c1f23"},
    "target": {"type": "url", "default": "https://northwind.example/spring"}},
  "markup": "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Northwind</title><style>body{margin:0;font:15px/1.25 system-ui,sans-serif}a{display:block;box-sizing:border-box;width:300px;height:250px;overflow:hidden;text-decoration:none}img{display:block}p{margin:8px 12px}</style></head><body><a href=\"{{click_url}}\" target=\"_blank\" style=\"background:#ffffff;color:{{ink}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\" width=\"300\" height=\"120\"><p><b>{{headline}}</b></p>{{#if offer}}<p>{{offer}} <small>{{#if legal}}{{legal}}{{/if}}</small></p>{{/if}}<p>{{cta}}</p></a></body></html>"}'
new "$draft" "{\"name\": \"Spring\", \"advertiser\": \"$name-northwind\", \"templates\": [\"$name-300x250\"], \"landing_slot\": \"target\"}"
new "/v1/placements/$name-top" '{"name": "Home page, top", "sizes": ["300x250"], "formats": ["html"]}'

say "4 variants with images: decoded, written anew, cut to the slot around what matters"
for image in coast peaks trail basket; do
    call POST "$draft/components" -F slot=hero -F id="i-$image" -F alt="Northwind: $image" -F focus=0.5,0.3 \
        -F image=@"creatives/demo/assets/$image-wide.webp" | jq -c '{id, value: .document.value}'
done

say "an SVG is refused with the reason"
printf '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>' >"$work/logo.svg"
call POST "$draft/components" -F slot=hero -F alt=Logo -F image=@"$work/logo.svg" | jq -c '.errors'

say "36 more in a table; three bad rows, all or nothing: nothing changes, and each row and column is named"
{
    echo 'id,slot,value,weight,locale'
    for n in $(seq 1 20); do echo "h-$n,headline,Spring is here: reason $n,100,"; done
    for n in $(seq 1 8); do echo "c-$n,cta,Go $n,100,"; done
    for n in 1 2 3; do echo "o-$n,offer,${n}0% off,100,"; done
    for n in 1 2 3; do echo "l-$n,legal,Until the end of month $n,100,"; done
    echo 'ink-1,ink,#1c1f23,100,'
    echo 'ink-2,ink,#b8bcc2,100,'
} >"$work/variants.csv"
sed -e 's/^h-7,.*/h-7,headline,This headline goes on and on until it is far too long,100,/' \
    -e 's/^c-2,\(.*\),100,/c-2,\1,heavy,/' -e 's/^ink-2,ink,[^,]*/ink-2,ink,greyish/' "$work/variants.csv" >"$work/bad.csv"
call POST "$draft/components?mode=all_or_nothing" -H 'Content-Type: text/csv' --data-binary @"$work/bad.csv" |
    jq -c '.status, .detail, (.errors[] | {pointer, code, detail})'

say "put right and sent twice with one key: done once"
for _ in 1 2; do
    call POST "$draft/components?mode=all_or_nothing" -H 'Content-Type: text/csv' -H "Idempotency-Key: $name-variants" \
        --data-binary @"$work/variants.csv" -o "$work/answer" -w '%header{idempotency-replayed} '
    jq -c '{rows, created, rejected}' "$work/answer"
done

say "an offer goes with its legal text; a colleague who saw an older draft is told so"
etag=$(call GET "$draft" -o "$work/draft" -D - | tr -d '\r' | awk 'tolower($1) == "etag:" {print $2}')
jq '.document + {pairing: ([range(1; 4)] | map({group: ["o-\(.)", "l-\(.)"]}))}' "$work/draft" >"$work/paired"
json PUT "$draft" -H "If-Match: $etag" -d @"$work/paired" | jq -c '.document.pairing'
json PUT "$draft" -H "If-Match: $etag" -d @"$work/paired" | jq -c '{status, detail}'

say "how many combinations there are, exactly; and a few that show every pair"
call GET "$draft/combinations?limit=1" | jq -c '{count, shown, slots: (.slots | map_values(length))}'
call GET "$draft/combinations?cover=pairs&limit=500" |
    jq -c '{shown, lint: ([.items[].lint[].code] | group_by(.) | map({(.[0]): length}) | add)}'

say "all of those on one page, for people: no script runs in it"
call GET "$draft/preview?cover=pairs&limit=40" -o "$sheet" -w '%{http_code} %{content_type}\n'
echo "$(grep -o '<iframe sandbox=""' "$sheet" | wc -l | tr -d ' ') frames in $sheet"

say "a variant that leads elsewhere: the gate refuses, and says why"
new "$draft/components/t-1" '{"slot": "target", "value": "https://elsewhere.example/spring"}'
json POST "$draft/publish" -d '{}' | jq -c '{status, errors}'

say "put right, and published; what to look at is told"
etag=$(call GET "$draft/components/t-1" -o /dev/null -D - | tr -d '\r' | awk 'tolower($1) == "etag:" {print $2}')
json PUT "$draft/components/t-1" -H "If-Match: $etag" -d '{"slot": "target", "value": "https://northwind.example/sale"}' | jq -c '.document.value'
json POST "$draft/publish" -d '{}' | jq -c '{revision, warnings}'

say "a campaign, and what a decision serves"
new "/v1/campaigns/$name-spring" "{\"name\": \"Spring\", \"advertiser\": \"$name-northwind\", \"status\": \"active\",
  \"creatives\": [\"$name-spring\"], \"placements\": [\"$name-top\"], \"landing_url\": \"https://northwind.example/spring\"}"
decide() {
    json POST /v1/decisions -d "{\"placements\": [{\"id\": \"top\", \"placement\": \"$name-top\", \"candidates\": {\"campaign\": \"$name-spring\"}}],
      \"user\": {\"key\": \"$name-visitor\"}}" | jq -c '.placements.top[0] | {status, creative, revision, components}'
}
decide

say "nothing of the week ahead is uncovered"
call GET "/v1/coverage?placement=$name-top&languages=de,en" | jq -c '{uncovered, cells: (.cells | length)}'

say "another headline for everybody, published as revision 2"
jq -nc '[range(1; 21) | {id: "h-\(.)", slot: "headline", value: "Last days: reason \(.)"}][]' |
    call POST "$draft/components" -H 'Content-Type: application/x-ndjson' -H 'If-Match: *' --data-binary @- |
    jq -c '{rows, replaced, rejected}'
json POST "$draft/publish" -d '{}' | jq -c '{revision}'
call GET "$draft/diff?from=1&to=2" | jq -c '{from, to, changes: (.changes | length), first: .changes[0]}'
decide

say "and back to revision 1, in one call"
json POST "$draft/publish" -d '{"revision": 1}' | jq -c '{revision}'
decide
