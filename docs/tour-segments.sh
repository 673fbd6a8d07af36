#!/usr/bin/env bash
# Two segments, one person, and how the person moves between them. Prints what the service says.
set -euo pipefail

case "${1:-}" in
-h | --help)
    cat <<'HELP'
Usage: docs/tour-segments.sh

Defines "young buyers" and "potential re-engagement" on a running service, or uses them if they are
there, sends what one person does, and shows which of the two the person is in: now, and as things
will stand in 31 minutes, 8 days and 31 days. It can be run again; each run is about a new person.
Needs curl and jq. TESSERA_URL (http://127.0.0.1:8080) and TESSERA_ADMIN_KEY say where.
HELP
    exit 0
    ;;
esac

url=${TESSERA_URL:-http://127.0.0.1:8080}
key=${TESSERA_ADMIN_KEY:?the admin key that the service printed}
who="tour-$(date +%s)"

say() { printf '\n# %s\n' "$*"; }
call() {
    local method=$1 path=$2
    shift 2
    curl -sS -X "$method" "$url$path" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"
}
segments() {
    call GET "/v1/profiles/$who/segments${1:+?at=$1}" |
        jq -c '.segments[] | select(.key == "young-buyers" or .key == "basket-left") | {key, since, valid_until}'
}
later() { jq -nr "now + $1 | floor | todate"; }
define() {
    local answer
    answer=$(call PUT "/v1/segments/$1" -H 'If-None-Match: *' -d "$2")
    jq -c 'if .id then {id, version} else .detail end' <<<"$answer"
    case $(jq '.status // 200' <<<"$answer") in
    200) ;;
    412) echo "$1 is there already and is used as it is" ;;
    *) exit 1 ;;
    esac
}

say "who bought in the last 30 days and is 18 to 25"
define young-buyers '{
  "name": "Young buyers", "rule": {"v": 1, "kind": "dynamic", "match": {"all": [
    {"trait": "age", "gte": 18, "lte": 25},
    {"event": "purchase", "count": {"gte": 1}, "in": {"last": "P30D"}}]}}}'

say "who leaves a full basket for half an hour without buying, or keeps emptying it"
define basket-left '{
  "name": "Potential re-engagement", "rule": {"v": 1, "kind": "dynamic", "match": {"any": [
    {"sequence": {"start": {"event": "add_to_cart"}, "then": [{"not": "purchase", "within": "PT30M"}],
                  "same": "cart_id", "lookback": "P7D"}},
    {"all": [{"event": "basket_emptied", "count": {"gte": 3}, "in": {"last": "P30D"}},
             {"event": "purchase", "count": {"eq": 0}, "in": {"last": "P30D"}}]}]}}}'

say "a person of 22 years buys"
call PATCH "/v1/profiles/$who" -d '{"traits": {"age": 22}}' >/dev/null
call POST /v1/events -d "{\"user\": \"$who\", \"type\": \"purchase\", \"properties\": {\"cart_id\": \"c-1\", \"amount\": 59.9}}" | jq -c .
segments

say "and puts something into the next basket: nothing moves yet"
call POST /v1/events -d "{\"user\": \"$who\", \"type\": \"add_to_cart\", \"properties\": {\"cart_id\": \"c-2\"}}" | jq -c .
segments

say "in 31 minutes, if nothing else happens: the basket is left"
segments "$(later 1860)"

say "in 8 days: the basket is too long ago"
segments "$(later 691200)"

say "in 31 days: so was the purchase"
segments "$(later 2678400)"

say "three baskets emptied instead, and no purchase: at once"
who="$who-b"
for n in 1 2 3; do
    call POST /v1/events -d "{\"id\": \"$who-$n\", \"user\": \"$who\", \"type\": \"basket_emptied\"}" >/dev/null
done
segments

say "and why: what was found for each condition"
call GET "/v1/profiles/$who/segments" | jq -r '.segments[] | select(.key == "basket-left") | .why | .. | .found? // empty'
