"""Java and its kin: maven and gradle, by their wrapper where it can be had."""

from __future__ import annotations

from loom.domain.evidence import StepKind
from workers.detect.found import NO_NETWORK, NOTHING, Found, Ground, left_out, step

GRADLE = ("settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts")
SUREFIRE = "**/target/surefire-reports/TEST-*.xml"
GRADLE_RESULTS = "**/build/test-results/**/TEST-*.xml"


def detect(ground: Ground) -> Found:
    """How it is prepared, built and tested; nothing without a pom.xml or a build of gradle's."""
    if ground.tree.has("pom.xml"):
        return _maven(ground)
    if configured := ground.tree.has(*GRADLE):
        return _gradle(ground, configured)
    return NOTHING


def _program(ground: Ground, wrapper: str, program: str) -> str:
    """The wrapper, which fetches the version that the project wants; the program that is installed
    where there is no wrapper, or no network to fetch by.
    """
    if wrapper in ground.tree.names and (ground.prepares or not ground.installed(program)):
        return f"./{wrapper}"
    return program


def _maven(ground: Ground) -> Found:
    maven = (_program(ground, "mvnw", "mvn"), "--batch-mode", "--no-transfer-progress")
    offline = () if ground.online else ("--offline",)
    why = "there is pom.xml"
    skipped = ("-DskipTests", "package")
    found = left_out("maven's dependencies", NO_NETWORK)
    if ground.prepares:
        found = step(
            StepKind.PREPARE, "maven-fetch", why, *maven, *skipped, "dependency:go-offline"
        )
    found += step(StepKind.BUILD, "maven-build", why, *maven, *offline, *skipped)
    return found + step(
        StepKind.TEST, "maven-test", why, *maven, *offline, "test", reports=(SUREFIRE,)
    )


def _gradle(ground: Ground, configured: str) -> Found:
    gradle = (_program(ground, "gradlew", "gradle"), "--no-daemon", "--console=plain")
    offline = () if ground.online else ("--offline",)
    why = f"there is {configured}"
    found = left_out("gradle's dependencies", NO_NETWORK)
    if ground.prepares:
        found = step(StepKind.PREPARE, "gradle-fetch", why, *gradle, "testClasses")
    found += step(StepKind.BUILD, "gradle-build", why, *gradle, *offline, "assemble")
    return found + step(
        StepKind.TEST, "gradle-test", why, *gradle, *offline, "test", reports=(GRADLE_RESULTS,)
    )
