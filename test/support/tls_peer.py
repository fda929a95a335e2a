#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A TLS server that does what its client's first line says, record by record.

Prints "port=N" when it listens on 127.0.0.1, "sni=NAME" ("sni=-" without one) for each
ClientHello, and "done" after a script, which is followed by "end". The script is a line of commands,
done in turn:

  send:N          N bytes of the pattern (the one of peer.c), in one piece
  records:N:S     N bytes of the pattern in records of S bytes, all of them in one write
  split:N:S       N bytes of the pattern, the encrypted bytes in TCP segments of S bytes
  read:N          waits until N more bytes have come, which must be the pattern; sends "ok" or "no"
  pause:MS        does nothing for so long
  wait            waits until the file that --go names appears
  echo            sends back what comes, until the client ends
  end             reads until the client ends and prints how: "end notify", "end fin" or "end reset"
  notify          sends close_notify
  fin             ends the TCP direction, without close_notify unless `notify` came before
  close           closes the TCP connection
  reset           closes it with RST
  garbage         sends bytes that are no record
  forge           sends a record whose check is wrong

Options: --cert --key, --ca FILE (asks for a client certificate), --tls 1.2|1.3, --alpn a,b, --go FILE,
--small (a small receive buffer), --late-tickets (TLS 1.3: the tickets go out with the first bytes that the script sends, not before).
"""
import argparse
import os
import socket
import ssl
import struct
import sys
import threading
import time

PERIOD = 65521


def make_pattern():
    out, x = bytearray(PERIOD), 1
    for i in range(PERIOD):
        x = (x * 171 + 11213) % 53125
        out[i] = x % 256
    return bytes(out)


PATTERN = make_pattern()


def pattern(length, offset):
    start = offset % PERIOD
    return (PATTERN * ((start + length) // PERIOD + 1))[start:start + length]


class Ended(Exception):
    """The client ended: how, is the text."""


class Connection:
    def __init__(self, sock, context, options):
        self.sock = sock
        self.options = options
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.sent = 0
        self.got = 0
        self.buffer = b""

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def fill(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            raise Ended("reset")
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                if not self.options.late_tickets:
                    self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()

    def read_some(self):
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        while True:
            try:
                data = self.tls.read(65536)
                if not data:
                    raise Ended("notify")
                return data
            except ssl.SSLWantReadError:
                self.fill()
            except ssl.SSLZeroReturnError:
                raise Ended("notify")
            except ssl.SSLEOFError:
                raise Ended("fin")

    def read_line(self):
        line = b""
        while b"\n" not in line:
            line += self.read_some()
        line, self.buffer = line.split(b"\n", 1)
        return line.decode()

    def do_send(self, length):
        self.tls.write(pattern(int(length), self.sent))
        self.sent += int(length)
        self.flush()

    def do_records(self, length, size):
        for at in range(0, int(length), int(size)):
            piece = min(int(size), int(length) - at)
            self.tls.write(pattern(piece, self.sent))
            self.sent += piece
        self.flush()

    def do_split(self, length, size):
        self.tls.write(pattern(int(length), self.sent))
        self.sent += int(length)
        data = self.outgoing.read()
        for at in range(0, len(data), int(size)):
            self.sock.sendall(data[at:at + int(size)])
            time.sleep(0.0005)

    def do_read(self, length):
        length, good = int(length), True
        while length:
            data = self.read_some()
            data, self.buffer = data[:length], data[length:]
            good = good and data == pattern(len(data), self.got)
            self.got += len(data)
            length -= len(data)
        print("read", "good" if good else "bad", flush=True)
        self.tls.write(b"ok" if good else b"no")
        self.flush()

    def do_pause(self, milliseconds):
        time.sleep(int(milliseconds) / 1000)

    def do_wait(self):
        while not os.path.exists(self.options.go):
            time.sleep(0.005)

    def do_echo(self):
        while True:
            self.tls.write(self.read_some())
            self.flush()

    def do_end(self):
        while True:
            self.read_some()

    def do_notify(self):
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        self.flush()

    def do_fin(self):
        self.sock.shutdown(socket.SHUT_WR)

    def do_close(self):
        self.sock.close()

    def do_reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def do_garbage(self):
        self.sock.sendall(b"this is not a record of TLS at all, not at all\n")

    def do_forge(self):
        self.tls.write(b"forged")
        data = bytearray(self.outgoing.read())
        data[-1] ^= 1
        self.sock.sendall(data)

    def run(self):
        self.handshake()
        for command in self.read_line().split():
            name, *arguments = command.split(":")
            getattr(self, "do_" + name)(*arguments)
        print("done", flush=True)
        self.do_end()


def serve(sock, context, options):
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Connection(sock, context, options).run()
    except Ended as end:
        print("end", end, flush=True)
    except (OSError, ssl.SSLError) as error:
        print("error", error, flush=True)
    sock.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("cert", "key", "ca", "tls", "alpn", "go"):
        parser.add_argument("--" + name)
    parser.add_argument("--late-tickets", action="store_true")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}.get(options.tls)
    if version:
        context.minimum_version = context.maximum_version = version
    if options.ca:
        context.load_verify_locations(options.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    context.sni_callback = lambda tls, name, own: print("sni=" + (name or "-"), flush=True)
    if options.alpn:
        context.set_alpn_protocols(options.alpn.split(","))
    listener = socket.socket()
    if options.small:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    print("port=%d" % listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, context, options), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
