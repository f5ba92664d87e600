"""The keeper: the one process of vpclab that may do anything, and the only one that enters a namespace.

Started with ``python -I -S keeper.py FD``, FD one end of a SOCK_SEQPACKET socket pair. As an ordinary user it is root
in a user namespace of its own. It holds the namespaces of all labs by descriptor: end of file on its socket ends it and
the kernel takes everything back. It needs the standard library only and parses nothing of a guest.

A request is one datagram, ``JSON NUL payload``, or over INLINE bytes a NUL and that as a memfd; so is the answer, with
only its payload in the memfd: ``{"ok": {...}}`` or ``{"error": text, "errno": n}``. A namespace is its descriptor here.

==============================  ==================================================================================
hello                           pid, whether it made a user namespace; the namespaces held with tags as JSON payload
netns count, tag, values        make namespaces for the lab ``tag`` with these sysctls
drop ns                         close namespaces (pods in them are ended first)
netlink steps, settle + bytes   for each step [ns, protocol, start, end, n] send those messages, collect answers until n
                                are complete; settle: wait until no packet is under way in the rules as they were
nft ns + text                   run a ruleset text through libnftables
sysctl ns, values               write /proc/sys/net/... of a namespace; a name that ends in ``?`` may be absent
statistics ns                   its /proc/net/snmp, netstat and, where it has IPv6, snmp6
socket ns, family, type, proto  open a socket there and hand it over
file path + bytes               write a file in the keeper's private folder, where pods may bind it
pod ns, argv                    start a sandbox whose init the keeper holds
endpod pid                      end it and everything in it
linger tag, folder, seconds     keep that lab's namespaces after the caller's death, at folder/keeper.sock; 0: no longer
==============================  ==================================================================================
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import sys

INLINE = 96_000  # bytes of payload in the datagram itself; the kernel's default send buffer holds 212,992
FOLDER = "/sys"  # where the private tmpfs is mounted: a folder that every Linux has and no guest may see
CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWUSER = 0x00020000, 0x40000000, 0x10000000
MS_REC_PRIVATE, PR_SET_NAME, PR_SET_DUMPABLE, NLMSG_ERROR, NLMSG_DONE = 0x4000 | 0x40000, 15, 4, 2, 3
NETLINK_NETFILTER, MEMBARRIER = 12, {"x86_64": 324, "aarch64": 283}  # its global command waits for an RCU grace period

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def enter_sandbox():
    """Leave the host: a user namespace where needed (True), own mounts with a private folder, own empty network."""
    maps = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
    made_user = libc.unshare(CLONE_NEWNS | CLONE_NEWNET) == -1
    if made_user:
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # after a setuid the maps below belong to root otherwise
        check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "unshare a user namespace")
        for name, text in maps.items():
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(text)
    check(libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "make mounts private")
    check(libc.mount(b"vpclab", FOLDER.encode(), b"tmpfs", 0, b"mode=755"), f"mount a tmpfs on {FOLDER}")
    return made_user


class Keeper:
    def __init__(self, caller):
        self.caller, self.made_user, self.nft = caller, enter_sandbox(), None
        self.contexts = {}  # descriptor → libnftables' context, which stays bound to the namespace where it was made
        self.links = {}  # descriptor → a netfilter socket there: to close one waits for what was deleted, 10 ms or more
        self.home, self.spaces = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), {}  # descriptor → tag
        self.pods, self.lingering = {}, {}  # pid of the pod's init → (ns, pidfd); tag → (folder, seconds, listener)

    def enter(self, ns):
        if ns not in self.spaces:
            raise OSError(errno.EBADF, f"namespace {ns!r} is not one of this keeper's")
        check(libc.setns(ns, CLONE_NEWNET), f"enter namespace {ns}")

    def do_hello(self, payload):
        return {"pid": os.getpid(), "user": self.made_user}, json.dumps(self.spaces).encode()

    def do_netns(self, payload, count, tag, values):
        made = []
        try:
            for _ in range(count):
                check(libc.unshare(CLONE_NEWNET), "make a network namespace")
                made.append(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
                self.spaces[made[-1]] = tag
                self.do_sysctl(b"", made[-1], values)
        except Exception:
            self.do_drop(b"", made)
            raise
        return {"ns": made}

    def do_drop(self, payload, ns):
        for pid in [pid for pid, (where, _) in self.pods.items() if where in ns]:
            self.do_endpod(b"", pid)
        for one in [one for one in ns if self.spaces.pop(one, None) is not None]:
            if one in self.contexts:
                self.nft.nft_ctx_free(self.contexts.pop(one))
            self.links.pop(one, None)
            os.close(one)
        check(libc.setns(self.home, CLONE_NEWNET), "leave it")  # whoever stands in a namespace holds it
        return {}

    def do_netlink(self, payload, steps, settle):
        answers = []
        for ns, protocol, start, end, expected in steps:
            link = self.links.pop(ns, None) if protocol == NETLINK_NETFILTER else None
            if link is None:
                self.enter(ns)
                link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            answer, refused = exchange(link, payload[start:end], expected)
            answers.append(answer)
            if refused:
                break
            if protocol == NETLINK_NETFILTER:
                self.links[ns] = link
            else:
                link.close()  # the garbage collector would take longer
        if settle and libc.syscall(MEMBARRIER.get(os.uname().machine, -1), 1, 0, 0) == -1:
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()  # waits for the same grace period
        return {"lengths": [*map(len, answers)]}, b"".join(answers)

    def do_nft(self, payload, ns):
        self.enter(ns)
        if self.nft is None:
            self.nft = ctypes.CDLL("libnftables.so.1")
            self.nft.nft_ctx_new.restype, self.nft.nft_ctx_get_error_buffer.restype = ctypes.c_void_p, ctypes.c_char_p
        if ns not in self.contexts:
            self.contexts[ns] = ctypes.c_void_p(self.nft.nft_ctx_new(0))
            self.nft.nft_ctx_buffer_error(self.contexts[ns])
        if self.nft.nft_run_cmd_from_buffer(self.contexts[ns], payload):
            raise OSError(0, self.nft.nft_ctx_get_error_buffer(self.contexts[ns]).decode(errors="replace").strip())
        return {}

    def do_sysctl(self, payload, ns, values):
        self.enter(ns)
        for name, value in values.items():
            if not name.startswith("net/") or ".." in name:
                raise OSError(errno.EPERM, f"sysctl {name} is not one of a namespace")
            missing = contextlib.suppress(*([FileNotFoundError] if name.endswith("?") else []))
            with missing, open("/proc/sys/" + name.rstrip("?"), "w") as stream:
                stream.write(str(value))
        return {}

    def do_statistics(self, payload, ns):
        self.enter(ns)
        with contextlib.ExitStack() as stack:
            paths = filter(os.path.exists, ("/proc/self/net/snmp", "/proc/self/net/netstat", "/proc/self/net/snmp6"))
            return {}, b"".join(stack.enter_context(open(path, "rb")).read() for path in paths)

    def do_socket(self, payload, ns, family, type, proto):
        self.enter(ns)
        return {}, b"", socket.socket(family, type | socket.SOCK_CLOEXEC, proto).detach()

    def do_file(self, payload, path):
        full = os.path.join(FOLDER, path.replace("..", "").lstrip("/"))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as stream:  # in place: pods have bound this very inode
            stream.write(payload)
        return {"path": full}

    def do_pod(self, payload, ns, argv):
        """argv: bwrap with @info for the descriptor of --info-fd, @ready for one where the program says "ready"."""
        self.enter(ns)
        with open(os.memfd_create("errors"), "rb") as complaint:
            get, put = os.pipe()
            if os.fork() == 0:
                try:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for one, at in ((complaint.fileno(), 2), (put, 8), (put, 9)):
                        os.set_inheritable(os.dup2(one, at), True)
                    list(map(os.closerange, (3, 10), (8, 1 << 20)))  # this process's sockets are nothing for guests
                    os.execvp(argv[0], [one.replace("@info", "8").replace("@ready", "9") for one in argv])
                except OSError as error:
                    os.write(2, f"{argv[0]}: {error.strerror}".encode())
                finally:
                    os._exit(127)
            os.close(put)
            said = b""
            with open(get, "rb", 0) as stream:
                while not (b"}" in said and b"ready" in said):
                    if not (part := stream.read(4096)):
                        text = os.pread(complaint.fileno(), 4000, 0).decode(errors="replace").strip()
                        raise OSError(0, text or "the sandbox ended at once")
                    said += part
        pid = json.loads(said.replace(b"ready", b""))["child-pid"]
        self.pods[pid] = (ns, os.pidfd_open(pid))
        return {"pid": pid}

    def do_endpod(self, payload, pid):
        _, pidfd = self.pods.pop(pid, (None, None))
        if pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # the kernel ends the rest of its PID namespace
            os.close(pidfd)
        return {}

    def do_linger(self, payload, tag, folder, seconds):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, "keeper.sock"))
        self.lingering.pop(tag, None)
        if seconds:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.fchmod(listener.fileno(), 0o600)  # whoever may connect may do anything
            os.chdir(folder)  # a socket's path may have 107 bytes, a folder's 4,095
            listener.bind("keeper.sock")
            os.chdir("/")
            listener.listen(1)
            self.lingering[tag] = (folder, seconds, listener)
        return {}

    def answer(self, datagram, fds, flags):
        try:
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            if fds:
                with open(fds[0], "rb") as stream:
                    datagram = os.pread(stream.fileno(), 1 << 30, 0)
            head, _, payload = datagram.partition(b"\0")
            request = json.loads(head)
            result = getattr(self, "do_" + request.pop("verb"))(payload, **request)
            return ({"ok": result},) if isinstance(result, dict) else ({"ok": result[0]}, *result[1:])
        except Exception as error:  # whatever a request can do wrong, the keeper lives on and says so
            text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            return ({"error": text[:4000], "errno": getattr(error, "errno", errno.EINVAL)},)

    def serve(self):
        """Answer until the caller's end of the socket is closed, then linger for the labs that asked for it."""
        while self.caller is not None:
            datagram = b""
            with contextlib.suppress(ConnectionResetError):
                datagram, fds, flags, _ = socket.recv_fds(self.caller, 2 * INLINE, 1)
            if datagram:
                try:
                    send(self.caller, *self.answer(datagram, fds, flags))
                except OSError as error:  # no descriptor left for the answer, or one that is too long
                    send(self.caller, {"error": error.strerror, "errno": error.errno})
            else:
                self.caller = self.linger()

    def linger(self):
        """The next caller, who found a lingering lab's folder; None when nobody came in time."""
        for pid in list(self.pods):
            self.do_endpod(b"", pid)
        self.do_drop(b"", [ns for ns, tag in self.spaces.items() if tag not in self.lingering])
        seconds = max((seconds for _, seconds, _ in self.lingering.values()), default=0)
        for listener in select.select([listener for _, _, listener in self.lingering.values()], [], [], seconds)[0]:
            return listener.accept()[0]
        for tag, (folder, _, _) in list(self.lingering.items()):
            self.do_linger(b"", tag, folder, 0)
        return None


def exchange(link, request, expected):
    """Send netlink messages; what the kernel answers until so many are acknowledged, and whether it refused one."""
    answer, refused = bytearray(), False
    link.settimeout(30)
    link.sendto(request, (0, 0))
    while expected and not (refused and link.proto == NETLINK_NETFILTER):  # a refused batch is answered only once
        got, at = link.recv(1 << 20), 0
        answer += got
        while at < len(got):
            length, kind = struct.unpack_from("=LH", got, at)
            refused |= kind == NLMSG_ERROR and struct.unpack_from("=i", got, at + 16)[0] != 0
            expected -= kind in (NLMSG_ERROR, NLMSG_DONE)
            at += (length + 3) & ~3
    return answer, refused


def send(channel, header, payload=b"", handed=None):
    """One frame; a long payload is a descriptor. A socket goes ahead: at the answer it is the caller's alone."""
    fds = [os.memfd_create("payload")] if len(payload) > INLINE else []
    if fds:
        header, payload = dict(header, blob=os.write(fds[0], payload)), b""
    ahead, answer = [(b"\0", [handed])][handed is None :], json.dumps(header).encode() + b"\0" + bytes(payload)
    for frame, given in [*ahead, (answer, fds)]:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the loop will see that the caller is gone
            socket.send_fds(channel, [frame], given)
        list(map(os.close, given))


def main():
    caller = socket.socket(fileno=int(sys.argv[1]))
    libc.prctl(PR_SET_NAME, b"vpclab-keeper", 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # pods that end are reaped by the kernel
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        keeper = Keeper(caller)
        send(caller, {"ok": keeper.do_hello(b"")[0]})
        keeper.serve()
    except OSError as error:
        send(caller, {"error": error.strerror, "errno": error.errno})


if __name__ == "__main__":
    main()
