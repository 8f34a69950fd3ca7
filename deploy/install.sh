#!/bin/sh
# Installs what Loom needs and is missing: Debian's packages (binaries alone, no service is
# started) and a virtual environment in .venv. Doing it again changes nothing and takes a second.
#
#   deploy/install.sh [run|test]      run: to run Loom (default); test: to run its tests too
set -eu

what=${1:-run}
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
venv=${LOOM_VENV:-$root/.venv}

say() { printf '%s\n' "$*" >&2; }

case $what in
    run | test) ;;
    *) say "usage: deploy/install.sh [run|test]"; exit 2 ;;
esac

# A binary of each package that is needed, and the package that has it.
wanted() {
    printf '%s\n' \
        '/usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server' \
        '/usr/lib/postgresql/*/bin/postgres postgresql' \
        '/usr/sbin/pgbouncer pgbouncer' \
        '/usr/bin/git git' \
        '/usr/bin/setpriv util-linux' \
        '/usr/bin/bwrap bubblewrap'
}

missing=''
while read -r binary package; do
    found=''
    for candidate in $binary; do [ -x "$candidate" ] && found=yes; done
    [ -n "$found" ] || missing="$missing $package"
done <<LIST
$(wanted)
LIST

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "Loom needs Python 3.11 or later, and '$python' is not: set PYTHON to one that is."
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then missing="$missing python3-venv"; fi

if [ -n "$missing" ]; then
    say "Installing Debian's$missing (their services are not started)"
    as_root=''
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
            as_root=sudo
        else
            say "They need root. Run this once as root, then try again:"
            say "    apt-get update && apt-get install --no-install-recommends$missing"
            say "or run Loom in containers: docker compose up (see docker/README.md)"
            exit 1
        fi
    fi
    if ! command -v apt-get >/dev/null; then
        say "There is no apt-get here. Install these yourself, then try again:$missing"
        say "(RabbitMQ 3.10 or later, PostgreSQL 15 or later, PgBouncer 1.18 or later, bubblewrap),"
        say "or run Loom in containers: docker compose up (see docker/README.md)"
        exit 1
    fi
    # RUNLEVEL and policy-rc.d keep maintainer scripts from starting services; a cluster that
    # Debian's postgresql would make for itself is not made either. Both last for this call alone.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    log=$scratch/apt.log
    install_packages() {
        # shellcheck disable=SC2086
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y --no-install-recommends $missing
    }
    $as_root apt-get update >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    install_packages >"$log" 2>&1 || {
        cat "$log" >&2
        say "apt-get could not install$missing: its words are above."
        exit 1
    }
fi

requirements=requirements.txt
[ "$what" = run ] || requirements=requirements-test.txt
stamp=$venv/.loom-$what
state=$(cat setup.cfg pyproject.toml "$requirements" | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
    say "Installing Python packages into $venv"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes -r "$requirements"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --no-deps --no-build-isolation --editable .
    printf '%s' "$state" >"$stamp"
fi
