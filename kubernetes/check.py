"""Validate every rendered overlay against the Kubernetes schemas, and scan it for security (`make check-manifests`).

Without kubectl and kustomize, which pip can't install, it checks the unrendered files.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent
SCHEMA = "1.37"
REASON = re.compile(r"checkov\.io/skip\d+: *(?:CKV\w+)=\S+ \S+")
SKIP = re.compile(r"checkov\.io/skip\d+:")


def main() -> int:
    """Run all checks. Returns 0 if there are no errors, else 1."""
    with tempfile.TemporaryDirectory() as folder:
        rendered = render(Path(folder))
        failures = [failure for path in rendered for failure in against_schema(path)]
        failures += insecure(rendered)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"Checked {len(rendered)} files against Kubernetes {SCHEMA} and for security. Errors: {len(failures)}")
    return 1 if failures else 0


def renderer() -> list[str] | None:
    """Return the command that renders overlays; None if no such program is installed."""
    commands = (["kubectl", "kustomize"], ["kustomize", "build"])
    return next((command for command in commands if shutil.which(command[0])), None)


def render(folder: Path) -> list[Path]:
    """Render each overlay to a file in a folder. Returns the files; without a renderer, the unrendered manifests."""
    sources = shutil.copytree(HERE, folder / "kubernetes", ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    subprocess.run([sources / "make-secrets"], check=True)
    program = renderer()
    if program is None:
        print(
            "\n!!! kubectl and kustomize are missing: checking the unrendered manifests instead of the overlays !!!\n",
            file=sys.stderr,
        )
        manifests = sorted(sources.glob("base/*.yaml")) + sorted(sources.glob("[co]*/*/*.yaml"))
        return [path for path in manifests if path.name not in ("kustomization.yaml", "name-references.yaml")]
    rendered = []
    for overlay in sorted((sources / "overlays").iterdir()):
        target = folder / f"{overlay.name}.yaml"
        with target.open("wb") as output:
            subprocess.run([*program, overlay], stdout=output, check=True)
        rendered.append(target)
    return rendered


def against_schema(path: Path) -> list[str]:
    """Validate a file strictly: unknown fields are errors too. Returns the errors."""
    command = [str(TOOLS / "kubernetes-validate"), "--strict", "--quiet", "-k", SCHEMA, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [f"{path.name}: {done.stdout}{done.stderr}"] if done.returncode else []


def insecure(paths: list[Path]) -> list[str]:
    """Scan files with checkov. Returns its findings, and the files that skip a check without giving a reason."""
    files = [option for path in paths for option in ("--file", str(path))]
    command = [str(TOOLS / "checkov"), "--framework", "kubernetes", "--skip-download", "--output", "json", *files]
    if renderer() is None:
        command += ["--skip-check", "CKV_K8S_21"]  # Only overlays set the namespace.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
        failed = report["results"]["failed_checks"]
        if not report["summary"]["passed"] or report["summary"]["parsing_errors"]:
            return [f"checkov cannot read the manifests: {done.stdout[:1000]}"]
    except (ValueError, KeyError, TypeError):
        return [f"checkov: {done.stdout[:1000]}{done.stderr[:1000]}"]
    findings = [
        f"{check['file_path']}: {check['check_id']} {check['check_name']}: {check['resource']}" for check in failed
    ]
    for path in HERE.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if len(SKIP.findall(text)) != len(REASON.findall(text)):
            findings.append(f"{path.name}: a check is skipped without a reason")
    return findings


if __name__ == "__main__":
    sys.exit(main())
