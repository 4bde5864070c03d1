"""A few packets of MQTT 3.1.1 with QoS 0 and 1: enough for a test to be a client of its own."""

import socket
import struct


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        length += bytes([rest % 128 | (0x80 if rest >= 128 else 0)])
        rest //= 128
        if rest == 0:
            return bytes([first]) + length + body


class SmallMqtt:
    def __init__(self, port: int, client_id: str = "small", clean: bool = True):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.buffer = b""
        self.socket.sendall(_packet(0x10, _text("MQTT") + bytes([4, 2 if clean else 0, 0, 60]) + _text(client_id)))
        answer, body = self._read()
        assert answer == 0x20 and body[1] == 0
        self.session_present = bool(body[0] & 1)

    def _read(self) -> tuple[int, bytes]:
        def take(count: int) -> bytes:
            while len(self.buffer) < count:
                more = self.socket.recv(65536)
                if not more:
                    raise ConnectionError("the broker closed the connection")
                self.buffer += more
            taken, self.buffer = self.buffer[:count], self.buffer[count:]
            return taken

        first, length, shift = take(1)[0], 0, 0
        while True:
            byte = take(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, take(length)

    def subscribe(self, topic: str):
        self.socket.sendall(_packet(0x82, struct.pack(">H", 1) + _text(topic) + b"\x00"))
        while self._read()[0] != 0x90:
            pass

    def publish(self, topic: str, payload: str | bytes):
        """QoS 1, and waits for the acknowledgement."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.socket.sendall(_packet(0x32, _text(topic) + struct.pack(">H", 2) + data))
        while self._read()[0] != 0x40:
            pass

    def send(self, topic: str, payload: str):
        """QoS 1, and does not wait."""
        self.socket.sendall(_packet(0x32, _text(topic) + struct.pack(">H", 1) + payload.encode()))

    def publish_many(self, messages: list[tuple[str, str]]):
        """QoS 1, all in one write; waits for all acknowledgements."""
        self.socket.sendall(b"".join(
            _packet(0x32, _text(topic) + struct.pack(">H", number % 65_535 + 1) + payload.encode())
            for number, (topic, payload) in enumerate(messages)))
        for _ in messages:
            while self._read()[0] != 0x40:
                pass

    def message(self, patience: float = 20) -> tuple[str, str]:
        """The next message: topic and payload."""
        self.socket.settimeout(patience)
        while True:
            first, body = self._read()
            if first & 0xF0 == 0x30:
                length = struct.unpack(">H", body[:2])[0]
                start = 2 + length + (2 if first & 6 else 0)
                return body[2 : 2 + length].decode(), body[start:].decode()

    def close(self):
        self.socket.close()
