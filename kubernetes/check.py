"""Checks what each overlay renders to: against today's schemas, and for security. `make check-manifests` runs it.

With neither kubectl nor kustomize, which no lock brings, it checks the files as they are.
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
    """Returns 0 if nothing was found."""
    with tempfile.TemporaryDirectory() as folder:
        rendered = render(Path(folder))
        failures = [failure for path in rendered for failure in against_schema(path)]
        failures += insecure(rendered)
    for each in failures:
        print(f"error: {each}", file=sys.stderr)
    print(f"Checked {len(rendered)} files against Kubernetes {SCHEMA} and for security: {len(failures)} errors")
    return 1 if failures else 0


def renderer() -> list[str] | None:
    """What renders overlays here, if anything does."""
    known = (["kubectl", "kustomize"], ["kustomize", "build"])
    return next((each for each in known if shutil.which(each[0])), None)


def render(folder: Path) -> list[Path]:
    """A file for each overlay; or the files that are no kustomizations, where nothing can render them."""
    sources = shutil.copytree(HERE, folder / "kubernetes", ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    subprocess.run([sources / "make-secrets"], check=True)
    program = renderer()
    if program is None:
        print(
            "\n!!! No kubectl or kustomize: overlays are not rendered, only their files are checked !!!\n",
            file=sys.stderr,
        )
        found = sorted(sources.glob("base/*.yaml")) + sorted(sources.glob("[co]*/*/*.yaml"))
        return [path for path in found if path.name not in ("kustomization.yaml", "name-references.yaml")]
    rendered = []
    for overlay in sorted((sources / "overlays").iterdir()):
        target = folder / f"{overlay.name}.yaml"
        with target.open("wb") as output:
            subprocess.run([*program, overlay], stdout=output, check=True)
        rendered.append(target)
    return rendered


def against_schema(path: Path) -> list[str]:
    """What the schemas refuse in a file, unknown fields too."""
    command = [str(TOOLS / "kubernetes-validate"), "--strict", "--quiet", "-k", SCHEMA, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [f"{path.name}: {done.stdout}{done.stderr}"] if done.returncode else []


def insecure(paths: list[Path]) -> list[str]:
    """What checkov finds, and what it was told to skip without a word of why."""
    files = [option for path in paths for option in ("--file", str(path))]
    command = [str(TOOLS / "checkov"), "--framework", "kubernetes", "--skip-download", "--output", "json", *files]
    if renderer() is None:
        command += ["--skip-check", "CKV_K8S_21"]  # the namespace, which overlays give
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
        failed = report["results"]["failed_checks"]
        if not report["summary"]["passed"] or report["summary"]["parsing_errors"]:
            return [f"checkov could not read the manifests: {done.stdout[:1000]}"]
    except (ValueError, KeyError, TypeError):
        return [f"checkov: {done.stdout[:1000]}{done.stderr[:1000]}"]
    found = [f"{each['file_path']}: {each['check_id']} {each['check_name']}: {each['resource']}" for each in failed]
    for path in HERE.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if len(SKIP.findall(text)) != len(REASON.findall(text)):
            found.append(f"{path.name}: a check is skipped without a reason")
    return found


if __name__ == "__main__":
    sys.exit(main())
