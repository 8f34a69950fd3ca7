#!/bin/sh
# Installs what Loom needs and is missing: Debian's packages (binaries alone, no service is
# started) and a virtual environment in .venv. Doing it again changes nothing and takes a second.
#
#   deploy/install.sh [run|test|drill|real]   run: to run Loom (default); test: to run its tests
#                                             too; drill: and every fault class of the drill;
#                                             real: and what real projects are built with
set -eu

what=${1:-run}
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
venv=${LOOM_VENV:-$root/.venv}

say() { printf '%s\n' "$*" >&2; }

case $what in
    run | test | drill | real) ;;
    *) say "usage: deploy/install.sh [run|test|drill|real]"; exit 2 ;;
esac

# A binary of each package that is needed, and the package that has it.
wanted() {
    printf '%s\n' \
        '/usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server' \
        '/usr/lib/postgresql/*/bin/postgres postgresql' \
        '/usr/sbin/pgbouncer pgbouncer' \
        '/usr/bin/git git' \
        '/usr/bin/ssh openssh-client' \
        '/usr/bin/setpriv util-linux' \
        '/usr/bin/bwrap bubblewrap'
    case $what in
        test | drill) printf '%s\n' \
            '/usr/bin/chromium chromium' \
            '/usr/lib/*/libatomic.so.1 libatomic1' \
            '/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core' ;;
    esac
    [ "$what" != drill ] || printf '%s\n' '/usr/lib/*/faketime/libfaketimeMT.so.1 libfaketime'
    [ "$what" != real ] || printf '%s\n' \
        '/usr/bin/python3 python3' \
        '/usr/lib/python3*/ensurepip/__init__.py python3-venv' \
        '/usr/include/python3*/Python.h python3-dev' \
        '/usr/bin/gcc gcc' \
        '/usr/include/stdio.h libc6-dev' \
        '/usr/bin/make make' \
        '/usr/bin/node nodejs' \
        '/usr/bin/npm npm'
}

missing=''
while read -r binary package; do
    found=''
    for candidate in $binary; do [ -e "$candidate" ] && found=yes; done
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
    scratch=$(mktemp -d)
    policy=/usr/sbin/policy-rc.d
    made_policy=''
    clean_up() {
        rm -rf "$scratch"
        [ -z "$made_policy" ] || $as_root rm -f "$policy"
    }
    trap clean_up EXIT
    # Debian's way to say that maintainer scripts start no service; gone again after this call.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$scratch/policy"
        $as_root install -m 755 "$scratch/policy" "$policy"
        made_policy=yes
    fi
    apt() {
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$scratch/log" 2>&1 || {
            cat "$scratch/log" >&2
            say "apt-get $1 failed: its words are above."
            exit 1
        }
    }
    apt update
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing
    # Their units were enabled by the installation just made: nothing of it starts at boot either.
    if [ -d /run/systemd/system ]; then
        for package in $missing; do
            case $package in
                rabbitmq-server | postgresql | pgbouncer)
                    $as_root systemctl disable --quiet "$package.service" || say "Could not disable $package.service"
                    ;;
            esac
        done
    fi
fi

requirements=requirements.txt
[ "$what" = run ] || requirements=requirements-test.txt
stamp=$venv/.loom-$what
state=$(cat setup.cfg pyproject.toml "$requirements" | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
    say "Installing Python packages into $venv"
    pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }
    # All that is needed stands in the list, with its hash, so nothing else is looked for.
    listed() { pip install --no-compile --no-deps --require-hashes -r "$1"; }
    if [ -x "$venv/bin/python" ]; then
        listed "$requirements"
    else
        # Half the list by one pip and half by another take half the time. Nothing may be there
        # that one of them would replace while the other looks around.
        halves=$(mktemp -d)
        awk -v half="$halves" '/^[^ ]/ { n++ } { print >(half "/" n % 2) }' "$requirements"
        "$python" -m venv "$venv"
        "$venv/bin/python" -c 'import setuptools' 2>/dev/null && pip uninstall -y setuptools
        listed "$halves/0" &
        other=$!
        listed "$halves/1" && good=yes || good=''
        wait "$other" && [ -n "$good" ] || { rm -rf "$halves" "$venv"; exit 1; }
        rm -rf "$halves"
    fi
    pip check
    # On every core, where pip compiles on one. Some packages hold files that are no Python at all.
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >/dev/null || true
    pip install --no-deps --no-build-isolation --editable .
    printf '%s' "$state" >"$stamp"
fi
