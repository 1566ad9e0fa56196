"""Look up the installed packages in PyPI's list of known vulnerabilities, with pip-audit.

    python packaging/audit.py

Ends with 1 if a package has a vulnerability that a newer version mends. pip-audit passes
over packages that its service does not know, and where the service is out of reach that is
all of them: this script says so, because "none found" would be no finding then.
"""

import json
import subprocess
import sys

OPTIONS = "--skip-editable --progress-spinner off -f json"


def report(packages):
    """Give the lines to print, and whether a newer version would mend something."""
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        return [
            "Dependencies: not audited, the list of vulnerabilities is out of reach"
        ], 0
    lines, mended = [], 0
    for package in audited:
        for found in package["vulns"]:
            versions = ", ".join(found["fix_versions"])
            mended += bool(versions)
            lines.append(
                f"{package['name']} {package['version']}: {found['id']}, mended in "
                f"{versions or 'no version yet'}"
            )
    total = f"Dependencies: {len(audited)} audited, {len(lines)} known vulnerabilities"
    if len(audited) < len(packages):
        total += f"; {len(packages) - len(audited)} not in the list"
    return [*lines, total], mended


def main():
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *OPTIONS.split()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(
            f"Dependencies: not audited: {done.stderr.strip().rpartition(chr(10))[2]}"
        )
        return int("No module named" in done.stderr)
    lines, mended = report(packages)
    print("\n".join(lines))
    return int(mended > 0)


if __name__ == "__main__":
    sys.exit(main())
