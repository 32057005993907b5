"""The commands for model versions: `housepredict models | models show | models promote | models rollback`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.evaluation.held_out import Valued, of_artefact
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.answers import ModelVersionAnswer, model_document, models_document
from housepredict.entrypoints.cli.terminal import answer, print_json
from housepredict.entrypoints.cli.texts import models_text, version_text
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.pages.version_page import version_page


def list_models(application: Application, options: argparse.Namespace) -> int:
    """List the versions."""
    versions, pointer = application.models.versions(), application.models.pointer()
    if options.json:
        print_json(models_document(versions, pointer))
    else:
        print(models_text(versions, pointer))
    return 0


def show_model(application: Application, options: argparse.Namespace) -> int:
    """Show one version, or write its page."""
    version, artefact = application.models.get(options.version)
    promoted = application.models.pointer().name
    if options.html:
        page = version_page(version, promoted, of_artefact(artefact), _returned(application, version))
        try:
            options.html.write_text(page, encoding="utf-8")
        except OSError as error:
            print(f"housepredict: the page cannot be written: {error}", file=sys.stderr)
            return 5
        print(f"housepredict: wrote {options.html}", file=sys.stderr)
    if options.json:
        print_json(model_document(version, promoted, ModelVersionAnswer))
    elif not options.html:
        print(version_text(version, promoted))
    return 0


def _returned(application: Application, version: ModelVersion) -> Sequence[Valued]:
    """The sales of houses that a version estimated; none where they cannot be read, for the page says more."""
    try:
        return application.review_accuracy.returned().rows.get(version.name, ())
    except RepositoryUnavailable as error:
        print(f"housepredict: the page lacks the sales that came back: {error}", file=sys.stderr)
        return ()


def promote_model(application: Application, options: argparse.Namespace) -> int:
    """Let a version serve."""
    return _say_promoted(application.promote(options.version), options)


def roll_back(application: Application, options: argparse.Namespace) -> int:
    """Go back to the version that was promoted before."""
    return _say_promoted(application.promote.rollback(), options)


def _say_promoted(version: ModelVersion, options: argparse.Namespace) -> int:
    document = model_document(version, version.name)
    return answer(options, document, f"Promoted {version.name} ({version.algorithm}).")
