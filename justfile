# Shortcuts; everything here also runs without `just`.

# Show the recipes
default:
    @just --list

# Every check that a change must pass
ci:
    .ci/run

# Build and run, with whatever arguments `tessera` takes
[positional-arguments]
start *args:
    @scripts/start "$@"

# All tests; arguments go to `cargo test`
[positional-arguments]
test *args:
    @scripts/test "$@"

# Measure; arguments go to `cargo bench`
[positional-arguments]
bench *args:
    @cargo bench "$@"

# Fuzz a running server by its OpenAPI document; arguments go to `st run`
[positional-arguments]
schemathesis *args:
    @scripts/schemathesis "$@"

# Have Prebid.js in a real browser bid against the built server and show what it bids
[positional-arguments]
prebid *args:
    @scripts/prebid "$@"

# Hold the built server against BidRequests of others, and the readers of consent against strings of others
[positional-arguments]
samples *args:
    @scripts/samples "$@"

# Longer outages of the database: 10 s each, optimised
proof-faults:
    TESSERA_PROOF_SECONDS=10 cargo test --release --test faults outages -- --nocapture

# Kill the service 100 times while it writes
proof-kill:
    TESSERA_PROOF_ROUNDS=100 cargo test --release --test faults kills -- --nocapture

# Kill the service and its database 100 times while events come in
proof-ingest:
    TESSERA_PROOF_ROUNDS=100 cargo test --release --test faults ingest -- --nocapture

# Ask two replicas in parallel for campaigns that may be seen once, and count how often they are
proof-cap:
    cargo test --release --test service cap_is_overshot -- --nocapture

# Have a player's parser read the demo's video in every version of VAST
vast-client:
    @scripts/vast-client

# A million decisions by random creatives with pairing rules, none of which may break one
proof-pairing:
    TESSERA_PROOF_DECISIONS=1000000 cargo test --release --test pairing -- --nocapture
