"""The pytest plugin, in projects of its own: every test here runs a pytest as a user's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import CLOUD, install, run, run_anew

from emulator.pytest_plugin import need_kernel
from tests.children import REPOSITORY, WITHOUT

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("project")

NOBODY = 65534
HEAVY = ("pyarrow", "duckdb", "mininet", "pyroute2", "numpy", "sqlglot", "scapy", "pandas")

PASSING = """
import sys
from emulator.pytest_plugin import START_S

def test_records(lab, rows):
    assert sorted(row["dstaddr"] for row in rows) == ["10.16.0.22", "10.16.0.40"]
    assert {row["packets"] for row in rows} == {9}
    assert "sqlglot" not in sys.modules, "only SQL needs it, and it takes as long as a lab"

@pytest.mark.parametrize("number", range(3))
def test_fresh_and_still(lab, number):
    assert lab.clock.now == START_S == 1_704_067_200
    assert lab.clock.speed is None
    assert not lab.logs.topics()
    lab.create_vpc("10.0.0.0/16", name="mine")
"""


@pytest.fixture(autouse=True)
def kernel(request: pytest.FixtureRequest) -> None:
    """Tests of the kernel tier are skipped, with the way out, where there is none to test with."""
    if request.node.get_closest_marker("kernel"):
        need_kernel()


@pytest.mark.kernel
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_the_fixture(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """Also where a project turns warnings into errors."""
    pytester.makepyfile(CLOUD + PASSING)
    result = run_anew(pytester, "-W", "error", *options)
    result.assert_outcomes(passed=4)
    assert not result.stderr.lines


@pytest.mark.kernel
def test_a_lab_for_a_module(pytester: pytest.Pytester) -> None:
    tests = """
        def test_one(lab_module):
            lab_module.create_vpc("10.0.0.0/16", name="shared")

        def test_two(lab_module, lab):
            assert lab_module.find("shared").cidr == "10.0.0.0/16"
            assert lab is not lab_module
    """
    pytester.makepyfile(test_first=tests, test_second=tests)
    run(pytester).assert_outcomes(passed=4)


@pytest.mark.kernel
def test_another_profile(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_profile(lab, lab_module):
            assert lab.profile.name == lab_module.profile.name == "alibaba"
    """)
    run(pytester, "--vpclab-profile", "alibaba").assert_outcomes(passed=1)


def test_an_unknown_profile_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = run(pytester, "--vpclab-profile=alibaba-2020")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--vpclab-profile=alibaba-2020*tencent, tencent-2020, alibaba, alibaba-2019"])


def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_lab(lab): pass")
    result = run(pytester, "-p", "no:vpclab")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'lab' not found*"])


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(f"""
        import sys

        def pytest_unconfigure(config):
            loaded = sorted({{name.partition(".")[0] for name in sys.modules}} & set({HEAVY!r}))
            ours = sorted(name for name in sys.modules if name.partition(".")[0] == "emulator")
            print("heavy:", loaded, "ours:", ours)
    """)
    pytester.makepyfile("""
        def test_fails():
            assert [{"packets": 9}] == [{"packets": 8}]
    """)
    result = run_anew(pytester)
    result.assert_outcomes(failed=1)
    assert "heavy: [] ours: ['emulator', 'emulator.errors', 'emulator.pytest_plugin']" in result.outlines


# where labs cannot run -------------------------------------------------------------------------------


REFUSED = """
    from emulator import doctor

    calls = []

    def missing():
        calls.append(1)
        return doctor.Probe("namespaces", False, "a user namespace was refused", "sudo sysctl -w some.thing=1")

    doctor.missing = missing

    def pytest_unconfigure(config):
        print("probed", len(calls))
"""
THREE = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_lab(lab, number): pass

    def test_module(lab_module): pass
"""


@pytest.fixture(autouse=True)
def _skipping_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI it is forbidden; what these tests run must not know."""
    monkeypatch.delenv("VPCLAB_REQUIRE_KERNEL", raising=False)


def test_one_skip_with_the_way_out(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(REFUSED)
    pytester.makepyfile(THREE)
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["probed 1"])
    (line,) = (line for line in result.outlines if line.startswith("SKIPPED"))
    assert line.startswith("SKIPPED [4]")
    assert line.endswith("vpclab: namespaces: a user namespace was refused; sudo sysctl -w some.thing=1")


def test_skipping_can_be_forbidden(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPCLAB_REQUIRE_KERNEL", "1")
    pytester.makeconftest(REFUSED)
    pytester.makepyfile(THREE)
    result = run(pytester)
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["*a user namespace was refused; sudo sysctl -w some.thing=1*VPCLAB_REQUIRE_KERNEL=1*"])


@pytest.mark.kernel
def test_where_user_namespaces_are_really_forbidden(pytester: pytest.Pytester) -> None:
    """A sandbox with an ordinary user, no capability and no way to a user namespace; nothing is simulated."""
    bwrap = shutil.which("bwrap")
    sandbox = [str(bwrap), "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--unshare-user", "--disable-userns"]
    sandbox += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL", "--chdir", str(pytester.path)]
    if bwrap is None or subprocess.run([*sandbox, "true"], capture_output=True).returncode:
        pytest.skip("needs bwrap 0.8 and user namespaces")
    pytester.makepyfile(THREE)
    command = [*sandbox, sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"]
    result = pytester.run(*command, timeout=120)
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["SKIPPED [[]4] *vpclab: namespaces: *refused*; *"])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder under /tmp that every user may read: those of pytest are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="vpclab-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.kernel
@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["plain", "xdist"])
def test_an_ordinary_user(open_folder: Path, python_path: list[str], options: list[str]) -> None:
    """User nobody, no HOME, a working directory that is not writable."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root, who can become somebody else")
    path = [WITHOUT, *python_path]
    if python_path:
        install(open_folder)
        path = [WITHOUT, str(open_folder), str(REPOSITORY)]
    (open_folder / "test_records.py").write_text(CLOUD + PASSING)
    become = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}

    def python(*args: str) -> subprocess.CompletedProcess[str]:
        command = [*become, sys.executable, *args]
        return subprocess.run(command, cwd=open_folder, env=environment, capture_output=True, text=True, timeout=120)

    try:
        seen = python("-c", "import emulator.pytest_plugin")
    except OSError:
        seen = None
    if seen is None or seen.returncode:
        pytest.skip(f"user {NOBODY} may not read {sys.prefix} or {REPOSITORY}")
    result = python("-m", "pytest", "-p", "no:cacheprovider", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout
    assert result.stderr == ""


# assertions that teach -------------------------------------------------------------------------------


FAILING = {
    "record": ('assert rows[0] == {**rows[0], "packets": 8}', "*packets: 9, wanted 8"),
    "dict": ('assert {**rows[0], "packets": 8} == rows[0]', "*packets: 9, wanted 8"),
    "records": ('assert rows == [rows[0], {**rows[1], "action": "REJECT"}]', "*action: 'ACCEPT', wanted 'REJECT'"),
    "chosen": ('assert [row for row in rows] == [{**rows[0], "bytes": 1}, rows[1]]', "*bytes: 756, wanted 1"),
    "none": ("assert rows == []", "*unexpected: * 10.16.0.22 10.16.0.40 * 9 756 *"),
    "in": ('assert {**rows[1], "protocol": 6} in rows', "*protocol: 1, wanted 6"),
    "not-in": ("assert dict(rows[0]) not in rows", "*found: * 10.16.0.22 10.16.0.40 * 9 756 *"),
    "another-query": (
        'topic = lab.logs.topic("accept"); assert {**rows[0], "packets": 8} in topic.search("dstaddr:10.9.9.9")',
        "*nearest in topic accept: * 10.16.0.22 10.16.0.40 * 9 756 *",
    ),
    "field": ('assert rows[0]["packets"] == 8', "rows: 2 records"),
    "count": ('assert len(lab.logs.topic("accept").search("10.16.0.40")) == 3', "in the assertion: 2 records"),
    "ping": ("del rows; assert lab.clock.now == 0", "topic accept: * record*"),
}


@pytest.mark.kernel
@pytest.mark.parametrize("options", [(), ("-n", "1", "-vv")], ids=["plain", "xdist and verbose"])
def test_failing_assertions_teach(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """The nearest record with the fields that differ, and the rule that decided, whatever the form of the assertion."""
    for name, (assertion, _) in FAILING.items():
        test = f"\ndef test_it(lab, rows):\n    {assertion}\n"
        pytester.makepyfile(**{f"test_{name.replace('-', '_')}": CLOUD + test})
    result = run(pytester, *options)
    result.assert_outcomes(failed=len(FAILING))
    parts = result.stdout.str().partition("short test summary")[0].split("\n____")
    for name, (_, wanted) in FAILING.items():
        place = re.compile(rf"^test_{name.replace('-', '_')}\.py:\d+: ", re.MULTILINE)
        (part,) = filter(place.search, parts)
        matcher = pytest.LineMatcher(part.splitlines())
        matcher.fnmatch_lines([wanted])
        matcher.fnmatch_lines(
            ["*why: ACCEPT of what * eni-*: security group sg-* (default), *: allow egress all to any*"]
        )
        assert "truncated" not in part


@pytest.mark.kernel
def test_labs_of_a_test_itself(pytester: pytest.Pytester) -> None:
    """Two labs give equal ids; each explains its own records, also after it was closed."""
    pytester.makepyfile("""
        from emulator import Lab

        def ping(lab, allowed):
            vpc = lab.create_vpc("10.0.0.0/16", name="demo")
            subnet = vpc.create_subnet("10.0.1.0/24")
            door = vpc.create_security_group("open" if allowed else "shut")
            (door.allow if allowed else door.deny)("ingress", protocol="icmp")
            a = subnet.run_instance("A")
            b = subnet.run_instance("B", security_groups=[door])
            topic = lab.logs.create_topic("all")
            b.eni.create_flow_log("all", topic=topic)
            a.ping(b, wait_s=0.1)
            lab.clock.advance(minutes=10)
            return topic.search(f"dstaddr:{b.ip}")

        def test_both_open():
            with Lab(start=0) as one, Lab(start=0) as two:
                passed, dropped = ping(one, True), ping(two, False)
                assert passed == dropped

        def test_closed():
            with Lab(start=0) as lab:
                dropped = ping(lab, False)
            assert dropped == []
    """)
    result = run(pytester, "-vv")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*action: 'ACCEPT', wanted 'REJECT'*", "*why: ACCEPT of what reached *(open)*allow ingress icmp*"]
    )
    result.stdout.fnmatch_lines(["*unexpected: *REJECT OK", "*why: REJECT of what reached *(shut)*deny ingress icmp*"])


@pytest.mark.kernel
def test_nothing_yet(pytester: pytest.Pytester) -> None:
    """Who forgot to advance the clock is told."""
    pytester.makepyfile("""
        def test_it(lab):
            subnet = lab.create_vpc("10.0.0.0/16", name="demo").create_subnet("10.0.1.0/24")
            topic = lab.logs.create_topic("all")
            subnet.run_instance("A").eni.create_flow_log("all", topic=topic)
            assert topic.search("*")
    """)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no topic holds records at lab time 1704067200: *300 s after its end (*.advance)"])


def test_an_explanation_never_hides_the_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from emulator.logs.records import Record

        class Odd(Record):
            @property
            def line(self):
                raise RuntimeError("odd")

        def test_odd():
            assert Odd({"a": 1}) == {"a": 2}

        def test_caught():
            with pytest.raises(AssertionError):
                assert Record({"a": 1}) == {"a": 2}
    """)
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E*{'a': 1} == {'a': 2}"])


FALSIFIED = """
@pytest.fixture
def falsified(monkeypatch):
    from emulator.fabric import tables
    decode = tables.decode
    def wrong(*args):
        flows = decode(*args)
        flows["packets"] += 1
        return flows
    monkeypatch.setattr(tables, "decode", wrong)

def test_records(falsified, lab, rows):
    assert rows
"""


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("options", "ini", "outcome"),
    [
        ((), "", {"passed": 1, "errors": 1}),
        (("--vpclab-no-audit",), "", {"passed": 1}),
        ((), "[pytest]\nvpclab_audit = false\n", {"passed": 1}),
    ],
    ids=["audited", "by option", "by ini"],
)
def test_a_lab_is_audited_at_its_end(
    pytester: pytest.Pytester, options: tuple[str, ...], ini: str, outcome: dict[str, int]
) -> None:
    pytester.makefile(".ini", pytest=ini)
    pytester.makepyfile(CLOUD + FALSIFIED)

    result = run(pytester, *options)

    result.assert_outcomes(**outcome)
    if "errors" in outcome:
        result.stdout.fnmatch_lines(["*the books do not balance:", "*eni-* (A-eth0), window 2024-01-01 00:00:00 to *"])


@pytest.mark.kernel
def test_a_lab_that_its_test_closed_is_not_audited(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_close(lab):\n    lab.create_vpc('10.0.0.0/16')\n    lab.close()\n")

    run(pytester).assert_outcomes(passed=1)
