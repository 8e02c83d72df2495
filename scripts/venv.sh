# Sourced by the other scripts: makes sure that .venv exists, with pip in it. On Debian the module for that is a package of its own.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "flexosip needs Python 3.11 or newer; PYTHON=/path/to/python3 chooses another one." >&2
    exit 2
}
if [ ! -x .venv/bin/pip ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "+ apt-get install python3-venv" >&2
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3-venv >/dev/null
    fi
    "$python" -m venv --clear .venv
fi
