#!/usr/bin/env python3
"""The format of secure-sessions, version 1, written a second time: from the design alone, in another language.

    verify.py         checks every vector of the JSON files beside it; exits 1 at the first that does not hold
    verify.py seal    reads one JSON object from standard input, seals a token from it, and prints its cookie value

It needs Python 3.8 and PyCryptodome (XChaCha20, XChaCha20-Poly1305 and ECDSA), and nothing else.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import sys

from Crypto.Cipher import ChaCha20, ChaCha20_Poly1305
from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS

VERSION = 1
MIN_BLOAT = 32
MIN_TOKEN = 171
MAX_TOKEN = 3071
MAX_DEPTH = 32
CRITICAL = 32
MAX_SUBJECT = 512
MAX_BINDING = 64
MAX_KEY = 256
MAX_VAULT_VALUES = 64
MAX_VAULT = 256 * 1024

META_ENTRIES = {
    1: "subject",
    2: "authenticated_at",
    3: "assurance_level",
    4: "persistent",
    5: "idle_timeout",
    6: "lifetime",
    7: "binding",
    8: "flash",
    9: "device",
    10: "vault",
    11: "subject_tag",
    12: "provider_session",
}


class Refused(Exception):
    """A token or handoff that must not be accepted; its text is the reason."""


# Keys


def hkdf_sha256(salt, key, info, length):
    pseudorandom_key = hmac.new(salt, key, hashlib.sha256).digest()
    output, block, counter = b"", b"", 0
    while len(output) < length:
        counter += 1
        block = hmac.new(pseudorandom_key, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
    return output[:length]


def subkey(key, info, length=32):
    return hkdf_sha256(b"secure-sessions/v1", key, info.encode(), length)


def key_id(key):
    return subkey(key, "key id", 4)


def parse_key(text):
    prefix, _, encoded = text.partition("_")
    kind = {"sealk1": "seal", "fpk1": "fingerprint"}[prefix]
    key = decode_base64url(encoded)
    assert len(key) == 32, "a key has 32 bytes"
    return kind, key


class Ring:
    """Both kinds of keys by id, each with its state."""

    def __init__(self, lists):
        self.seal, self.fingerprint = {}, {}
        for kind in ("seal", "fingerprint"):
            for place, text in enumerate(lists[kind]):
                self.add(text, "active" if place == 0 else "accepted")
        for text in lists["compromised"]:
            self.add(text, "compromised")

    def add(self, text, state):
        kind, key = parse_key(text)
        getattr(self, kind)[key_id(key)] = (key, state)


# Encodings


def decode_base64url(text):
    """The one canonical spelling: no padding, no other characters, no trailing bits."""
    try:
        data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Refused("not_canonical")
    if encode_base64url(data) != text:
        raise Refused("not_canonical")
    return data


def encode_base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def u16(number):
    return number.to_bytes(2, "big")


class Reader:
    """CBOR (RFC 8949), as far as tokens have it."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        if length > len(self.data) - self.at:
            raise Refused("malformed")
        self.at += length
        return self.data[self.at - length : self.at]

    def head(self):
        """Major type and argument; None as argument is an indefinite length, or a break."""
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info, info
        if info in (24, 25, 26, 27):
            return major, info, int.from_bytes(self.take(1 << (info - 24)), "big")
        if info == 31 and major in (2, 3, 4, 5, 7):
            return major, info, None
        raise Refused("malformed")

    def text(self):
        major, _, length = self.head()
        if major != 3 or length is None:
            raise Refused("malformed")
        return utf8(self.take(length))

    def at_break(self):
        if self.data[self.at : self.at + 1] == b"\xff":
            self.at += 1
            return True
        return False

    def skip(self, depth=MAX_DEPTH):
        """Passes over one item and gives its bytes."""
        start = self.at
        if depth == 0:
            raise Refused("malformed")
        major, _, argument = self.head()
        if major in (2, 3):
            if argument is not None:
                chunk = self.take(argument)
                if major == 3:
                    utf8(chunk)
            else:
                while not self.at_break():
                    chunk_major, _, length = self.head()
                    if chunk_major != major or length is None:
                        raise Refused("malformed")
                    chunk = self.take(length)
                    if major == 3:
                        utf8(chunk)
        elif major in (4, 5):
            per_item = major - 3
            if argument is not None:
                for _ in range(argument * per_item):
                    self.skip(depth - 1)
            else:
                count = 0
                while not self.at_break():
                    self.skip(depth - 1)
                    count += 1
                if count % per_item:
                    raise Refused("malformed")
        elif major == 6:
            self.skip(depth - 1)
        elif major == 7 and argument is None:
            raise Refused("malformed")  # A break where an item should be.
        return self.data[start : self.at]

    def map_length(self):
        major, _, count = self.head()
        if major != 5 or count is None:
            raise Refused("malformed")
        return count

    def end(self):
        if self.at != len(self.data):
            raise Refused("malformed")


def utf8(data):
    try:
        return data.decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        raise Refused("malformed")


def read_meta(data):
    reader = Reader(data)
    entries, previous, critical = {}, -1, None
    for _ in range(reader.map_length()):
        major, _, key = reader.head()
        if major != 0 or key is None or key <= previous:
            raise Refused("malformed")
        previous = key
        raw = reader.skip()
        name = META_ENTRIES.get(key)
        if name is None:
            if key >= CRITICAL and critical is None:
                critical = key
            continue  # Of a later version: whoever seals again keeps it.
        value = Reader(raw)
        if name == "subject":
            entries[name] = value.text()
            if len(entries[name].encode()) > MAX_SUBJECT:
                raise Refused("malformed")
        elif name == "persistent":
            if raw not in (b"\xf4", b"\xf5"):
                raise Refused("malformed")
            entries[name] = raw == b"\xf5"
        elif name == "binding":
            major, _, length = value.head()
            if major != 2 or length is None or length > MAX_BINDING:
                raise Refused("malformed")
            entries[name] = value.take(length).hex()
        elif name in ("device", "subject_tag", "provider_session"):
            major, _, length = value.head()
            if major != 2 or length != 16:
                raise Refused("malformed")
            entries[name] = value.take(length).hex()
        elif name == "flash":
            entries[name] = raw.hex()
        elif name == "vault":
            entries[name] = read_references(value)
        else:
            major, _, entries[name] = value.head()
            if major != 0 or (name == "assurance_level" and entries[name] > 255):
                raise Refused("malformed")
    reader.end()
    if ("subject" in entries) != ("subject_tag" in entries):
        raise Refused("malformed")
    if critical is not None:
        raise Refused("critical")
    return entries


def read_references(reader):
    """Text keys in ascending order, each with a secret and the length of its value."""
    references, previous, total = {}, None, 0
    count = reader.map_length()
    if not 1 <= count <= MAX_VAULT_VALUES:
        raise Refused("malformed")
    for _ in range(count):
        key = reader.text().encode()
        major, _, length = reader.head()
        if major != 2 or length != 34 or len(key) > MAX_KEY or (previous is not None and key <= previous):
            raise Refused("malformed")
        previous = key
        reference = reader.take(34)
        total += int.from_bytes(reference[32:], "big")
        references[key.decode()] = reference.hex()
    if total > MAX_VAULT:
        raise Refused("malformed")
    return references


def read_data(data):
    """Each key with its value, the first of a key that is there twice, up to the first malformed entry."""
    reader = Reader(data)
    entries = {}
    count = reader.map_length()
    if 2 * count > len(data) - reader.at:
        raise Refused("malformed")
    try:
        for _ in range(count):
            key = reader.text()
            entries.setdefault(key, reader.skip())
    except Refused:
        pass
    return entries


def write_head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * length:
            return bytes([major << 5 | info]) + argument.to_bytes(length, "big")
    raise ValueError("too large")


def write(value):
    """CBOR of what JSON can say."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return write_head(0, value) if value >= 0 else write_head(1, -1 - value)
    if isinstance(value, str):
        return write_head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return write_head(4, len(value)) + b"".join(map(write, value))
    if isinstance(value, dict):
        return write_head(5, len(value)) + b"".join(write(key) + write(item) for key, item in value.items())
    raise TypeError(type(value))


def write_meta(entries):
    numbers = {name: number for number, name in META_ENTRIES.items()}
    present = {numbers[name]: value for name, value in entries.items() if value is not None}
    output = write_head(5, len(present))
    for number in sorted(present):
        name, value = META_ENTRIES[number], present[number]
        output += write_head(0, number)
        if name in ("binding", "device", "subject_tag", "provider_session"):
            output += write_head(2, len(value) // 2) + bytes.fromhex(value)
        elif name == "flash":
            output += bytes.fromhex(value)
        elif name == "vault":
            output += write_head(5, len(value))
            for key in sorted(value, key=str.encode):
                output += write(key) + write_head(2, 34) + bytes.fromhex(value[key])
        else:
            output += write(value)
    return output


# Tokens


def with_length(context):
    return u16(len(context.encode())) + context.encode()


def aead_open(key, nonce, associated_data, ciphertext, tag):
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(associated_data)
    try:
        return cipher.decrypt_and_verify(ciphertext, tag)
    except ValueError:
        return None


def aead_seal(key, nonce, associated_data, plaintext):
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(associated_data)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return ciphertext + tag


def aead_decrypt(key, nonce, ciphertext):
    """Without a look at the tag: Poly1305's key is the first block of the keystream, of 64 bytes."""
    cipher = ChaCha20.new(key=key, nonce=nonce)
    cipher.seek(64)
    return cipher.decrypt(ciphertext)


def mark(seal_key, fingerprint_key, context, unmarked):
    """Issue mark and fingerprint, under a key of both keys."""
    salt, secret = subkey(seal_key, "mark"), subkey(fingerprint_key, "fingerprint")
    mark_key = hkdf_sha256(salt, secret, b"secure-sessions/v1/mark", 32)
    message = b"secure-sessions/v1/fingerprint" + b"\x00" + with_length(context) + unmarked
    mac = hmac.new(mark_key, message, hashlib.sha256).digest()
    return mac[:16], mac[16:]


def decode_token(cookie):
    if len(cookie) < encoded_length(MIN_TOKEN):
        raise Refused("too_short")
    if len(cookie) > encoded_length(MAX_TOKEN):
        raise Refused("too_long")
    return check_token(decode_base64url(cookie))


def check_token(token):
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN:
        raise Refused("too_short" if len(token) < MIN_TOKEN else "too_long")
    if token[0] != VERSION:
        raise Refused("later_version" if token[0] > VERSION else "version")
    return token


def encoded_length(length):
    return (length * 4 + 2) // 3


def open_token(ring, context, token):
    header, nonce = token[:9], token[9:33]
    ciphertext, tag, issue = token[33:-32], token[-32:-16], token[-16:]
    if header[1:5] not in ring.seal:
        raise Refused("unknown_seal_key")
    if header[5:9] not in ring.fingerprint:
        raise Refused("unknown_fingerprint_key")
    seal_key, seal_state = ring.seal[header[1:5]]
    fingerprint_key, fingerprint_state = ring.fingerprint[header[5:9]]

    expected, fingerprint = mark(seal_key, fingerprint_key, context, token[:-16])
    marked = hmac.compare_digest(expected, issue)
    if marked and "compromised" not in (seal_state, fingerprint_state):
        plaintext = aead_decrypt(subkey(seal_key, "seal"), nonce, ciphertext)
    else:
        associated_data = b"secure-sessions/v1/token" + header + with_length(context)
        plaintext = aead_open(subkey(seal_key, "seal"), nonce, associated_data, ciphertext, tag)
        if plaintext is None:
            raise Refused("forged" if marked else "not_authentic")
        if not marked:
            raise Refused("unmarked")

    opened = parse_plaintext(plaintext)
    opened.update(
        plaintext=plaintext,
        nonce=nonce,
        issue_mark=issue,
        fingerprint=fingerprint,
        fingerprint_key=fingerprint_key,
        seal_key_state=seal_state,
        fingerprint_key_state=fingerprint_state,
    )
    return opened


def parse_plaintext(plaintext):
    meta_end = 70 + int.from_bytes(plaintext[68:70], "big")
    data_start = meta_end + 2
    data_end = data_start + int.from_bytes(plaintext[meta_end:data_start], "big")
    if data_end + MIN_BLOAT > len(plaintext):
        raise Refused("malformed")
    return {
        "session_id": plaintext[:16],
        "handoff_key": plaintext[16:48],
        "generation": int.from_bytes(plaintext[48:52], "big"),
        "issued_at": int.from_bytes(plaintext[52:60], "big"),
        "expires_at": int.from_bytes(plaintext[60:68], "big"),
        "meta_cbor": plaintext[70:meta_end],
        "data_cbor": plaintext[data_start:data_end],
        "bloat": plaintext[data_end:],
        "meta": read_meta(plaintext[70:meta_end]),
        "data": read_data(plaintext[data_start:data_end]),
    }


def seal_token(seal_key, fingerprint_key, context, content, nonce, bloat):
    plaintext = (
        content["session_id"]
        + content["handoff_key"]
        + content["generation"].to_bytes(4, "big")
        + content["issued_at"].to_bytes(8, "big")
        + content["expires_at"].to_bytes(8, "big")
        + u16(len(content["meta_cbor"]))
        + content["meta_cbor"]
        + u16(len(content["data_cbor"]))
        + content["data_cbor"]
        + bloat
    )
    header = bytes([VERSION]) + key_id(seal_key) + key_id(fingerprint_key)
    associated_data = b"secure-sessions/v1/token" + header + with_length(context)
    unmarked = header + nonce + aead_seal(subkey(seal_key, "seal"), nonce, associated_data, plaintext)
    issue, _ = mark(seal_key, fingerprint_key, context, unmarked)
    return unmarked + issue


def size_class(classes, name_length, limit, content):
    """The length of the plaintext, bloat included, for so many bytes without it."""
    characters = limit - name_length
    largest = min(characters * 3 // 4, MAX_TOKEN) - 65
    needed = content + MIN_BLOAT
    assert needed <= largest, "too large for one cookie"
    if classes == "fixed":
        return largest
    if "step" in classes:
        return min(-(-needed // classes["step"]) * classes["step"], largest)
    return min([size for size in classes["list"] if size >= needed] + [largest])


def expand(seed, length):
    """The bloat that a seed becomes."""
    return ChaCha20.new(key=seed, nonce=bytes(12)).encrypt(bytes(length))


def open_handoff(ring, context, session_id, handoff_key, handoff):
    identifier, nonce, sealed = handoff[:4], handoff[4:28], handoff[28:]
    seal_key, _ = ring.seal[identifier]
    message = b"secure-sessions/v1/handoff" + b"\x01" + session_id + with_length(context) + handoff_key
    key = hmac.new(subkey(seal_key, "handoff"), message, hashlib.sha256).digest()
    token = check_token(ChaCha20.new(key=key, nonce=nonce).decrypt(sealed))
    if token[1:5] != identifier:
        raise Refused("tampered")
    return token


# The vault


def padded_length(length):
    """Steps of 256 bytes up to 4 KiB, then Padmé."""
    if length <= 4096:
        step = 256
    else:
        exponent = length.bit_length() - 1
        step = 1 << (exponent - exponent.bit_length())
    return max(-(-length // step), 1) * step


def blob_id(secret):
    return subkey(secret, "vault id", 16)


def seal_blob(context, secret, value):
    associated_data = b"secure-sessions/v1/vault" + with_length(context) + blob_id(secret)
    padded = value + bytes(padded_length(len(value)) - len(value))
    return b"\x01" + aead_seal(subkey(secret, "vault key"), bytes(24), associated_data, padded)


# Tags


def tag(fingerprint_key, info, message):
    return hmac.new(subkey(fingerprint_key, info), message, hashlib.sha256).digest()


def subject_tag(fingerprint_key, context, subject):
    return tag(fingerprint_key, "subject", with_length(context) + subject.encode())[:16]


def provider_session(issuer, sid):
    message = b"secure-sessions/v1/provider session" + with_length(issuer) + sid.encode()
    return hashlib.sha256(message).digest()[:16]


def group_tag(fingerprint_key, context, session):
    return tag(fingerprint_key, "group", with_length(context) + session)[:16]


# Devices


def stamped(fingerprint_key, purpose, fields, also=b""):
    """The fields and their stamp; a challenge's stamp covers also what it is for."""
    message = bytes([len(purpose)]) + purpose.encode() + fields + also
    return encode_base64url(fields + key_id(fingerprint_key) + tag(fingerprint_key, "device", message)[:16])


def check_proof(proof, public_key, header, claims):
    signed, _, signature = proof.rpartition(".")
    parts = [json.loads(decode_base64url(part)) for part in signed.split(".")]
    assert parts == [header, claims], f"{parts} is not {[header, claims]}"
    coordinates = {"point_x": int.from_bytes(public_key[:32], "big"), "point_y": int.from_bytes(public_key[32:], "big")}
    verifier = DSS.new(ECC.construct(curve="P-256", **coordinates), "fips-186-3")
    verifier.verify(SHA256.new(signed.encode()), decode_base64url(signature))


# The vectors


def equal(case, field, found):
    if isinstance(found, bytes):
        found = found.hex()
    if case[field] != found:
        raise SystemExit(f"{case.get('name', case.get('key'))}: {field} is {case[field]}, found {found}")


def check_key(case):
    kind, key = parse_key(case["key"])
    equal(case, "bytes", key)
    equal(case, "id", key_id(key))
    uses = {"seal": ["handoff", "mark", "seal"], "fingerprint": ["binding", "csrf", "device", "fingerprint", "group", "handle", "label", "subject"]}[kind]
    equal(case, "subkeys", {info: subkey(key, info).hex() for info in uses})


def check_token_case(case):
    token = decode_token(case["cookie"])
    equal(case, "token", token)
    opened = open_token(Ring(case["keyring"]), case["context"], token)
    for field in ("session_id", "handoff_key", "generation", "issued_at", "expires_at", "meta_cbor", "data_cbor"):
        equal(case, field, opened[field])
    for field in ("issue_mark", "fingerprint", "seal_key_state", "fingerprint_key_state"):
        equal(case, field, opened[field])
    nonce, seed = bytes.fromhex(case["random"])[:24], bytes.fromhex(case["random"])[24:]
    equal(case, "random", opened["nonce"] + seed)
    bloat = expand(seed, len(opened["bloat"]))
    assert bloat == opened["bloat"], f"{case['name']}: the bloat is not the seed's"
    found = {name: opened["meta"].get(name) for name in META_ENTRIES.values()}
    equal(case, "subject_tag", found.pop("subject_tag"))
    equal(case, "meta", found)
    subject = opened["meta"].get("subject")
    made = None if subject is None else subject_tag(opened["fingerprint_key"], case["context"], subject)
    equal(case, "subject_tag", None if made is None else made.hex())
    session = opened["meta"].get("provider_session")
    made = None if session is None else group_tag(opened["fingerprint_key"], case["context"], bytes.fromhex(session))
    equal(case, "group_tag", None if made is None else made.hex())

    # The other way: the same inputs give the same bytes, and the same size.
    seal_key = parse_key(case["sealed_by"]["seal"][0])[1]
    fingerprint_key = parse_key(case["sealed_by"]["fingerprint"][0])[1]
    content = dict(opened, meta_cbor=write_meta(dict(case["meta"], subject_tag=case["subject_tag"])))
    equal(case, "token", seal_token(seal_key, fingerprint_key, case["context"], content, nonce, bloat))
    without_bloat = len(opened["plaintext"]) - len(opened["bloat"])
    length = size_class(case["size_classes"], len(case["context"].encode()), case["limit"], without_bloat)
    assert length == len(opened["plaintext"]), f"{case['name']}: {length} bytes of plaintext expected"


def check_handoff(case):
    ring, context = Ring(case["keyring"]), case["context"]
    session_id, handoff_key = bytes.fromhex(case["session_id"]), bytes.fromhex(case["handoff_key"])
    try:
        token = open_handoff(ring, context, session_id, handoff_key, bytes.fromhex(case["handoff"]))
        opened = open_token(ring, context, token)
        named = (opened["session_id"], opened["generation"], opened["fingerprint"].hex())
        if named != (session_id, case["generation"], case["fingerprint"]):
            raise Refused("tampered")
    except Refused:
        equal(case, "refused", "tampered")
    else:
        equal(case, "refused", None)
        equal(case, "token", token)


def check_tags(case):
    _, key = parse_key(case["key"])
    session_id = bytes.fromhex(case["session_id"])
    equal(case, "subject_tag", subject_tag(key, case["context"], case["subject"]))
    session = provider_session(case["issuer"], case["sid"])
    equal(case, "provider_session", session)
    equal(case, "group_tag", group_tag(key, case["context"], session))
    equal(case, "handle", encode_base64url(tag(key, "handle", session_id)[:16]))
    secret, mask = tag(key, "csrf", session_id), bytes.fromhex(case["csrf_mask"])
    equal(case, "csrf_secret", secret)
    equal(case, "csrf_token", encode_base64url(mask + bytes(a ^ b for a, b in zip(mask, secret))))
    nonce, identifier = bytes.fromhex(case["label_nonce"]), key_id(key)
    associated_data = b"secure-sessions/v1/label" + identifier + session_id
    sealed = aead_seal(subkey(key, "label"), nonce, associated_data, case["label"].encode())
    equal(case, "label_sealed", identifier + nonce + sealed)
    equal(case, "binding", identifier + tag(key, "binding", session_id + case["label"].encode())[:16])


def check_device(case):
    _, key = parse_key(case["key"])
    handle = tag(key, "handle", bytes.fromhex(case["session_id"]))[:16]
    equal(case, "handle", encode_base64url(handle))
    private = ECC.construct(curve="P-256", d=int(case["private_key"], 16))
    x, y = (int(coordinate).to_bytes(32, "big") for coordinate in private.pointQ.xy)
    equal(case, "public_key", x + y)
    device = hashlib.sha256(b"\x01" + x + y).digest()[:16]
    equal(case, "device", device)
    now = case["now"].to_bytes(8, "big")
    not_after = (case["now"] + case["ticket_life"]).to_bytes(8, "big")
    equal(case, "identifier", stamped(key, "identifier", b"\x01" + handle + x + y))
    equal(case, "ticket", stamped(key, "ticket", not_after + device + handle))
    equal(case, "registration_challenge", stamped(key, "registration", now, handle))
    equal(case, "refresh_challenge", stamped(key, "refresh", now, device))
    equal(case, "dpop_nonce", stamped(key, "dpop", now, bytes(16)))
    jwk = {"kty": "EC", "crv": "P-256", "x": encode_base64url(x), "y": encode_base64url(y)}
    header = {"alg": "ES256", "typ": "dbsc+jwt"}
    claims = {"jti": case["registration_challenge"], "authorization": case["handle"]}
    check_proof(case["registration_proof"], x + y, dict(header, jwk=jwk), claims)
    check_proof(case["refresh_proof"], x + y, header, {"jti": case["refresh_challenge"]})


def check_data(case):
    equal(case, "entries", [[key, value.hex()] for key, value in read_data(bytes.fromhex(case["data_cbor"])).items()])


def check_vault(case):
    reference = bytes.fromhex(case["reference"])
    secret, length = reference[:32], int.from_bytes(reference[32:], "big")
    value = bytes.fromhex(case["value"])
    assert len(value) == length, f"{case['name']}: {length} bytes expected"
    equal(case, "blob_id", blob_id(secret))
    equal(case, "blob", seal_blob(case["context"], secret, value))
    equal(case, "vault_id", subkey(bytes.fromhex(case["handoff_key"]), "vault", 16))


def check_negative(case):
    try:
        open_token(Ring(case["keyring"]), case["context"], decode_token(case["cookie"]))
    except Refused as refused:
        equal(case, "refused", str(refused))
    else:
        equal(case, "refused", "opened")


def check_all():
    directory = pathlib.Path(__file__).resolve().parent
    files = {
        "keys.json": check_key,
        "token.json": check_token_case,
        "handoff.json": check_handoff,
        "tags.json": check_tags,
        "device.json": check_device,
        "data.json": check_data,
        "vault.json": check_vault,
        "negative.json": check_negative,
    }
    for name, check in files.items():
        cases = json.loads((directory / name).read_text(encoding="utf-8"))["cases"]
        assert cases, f"{name} has no cases"
        for case in cases:
            check(case)
        print(f"{name}: {len(cases)}")


def seal_from_stdin():
    wanted = json.load(sys.stdin)
    seal_key, fingerprint_key = parse_key(wanted["seal_key"])[1], parse_key(wanted["fingerprint_key"])[1]
    meta = dict(wanted["meta"])
    if meta.get("subject") is not None:
        meta["subject_tag"] = subject_tag(fingerprint_key, wanted["context"], meta["subject"]).hex()
    content = {
        "session_id": bytes.fromhex(wanted["session_id"]),
        "handoff_key": bytes.fromhex(wanted["handoff_key"]),
        "generation": wanted["generation"],
        "issued_at": wanted["issued_at"],
        "expires_at": wanted["expires_at"],
        "meta_cbor": write_meta(meta),
        "data_cbor": write(wanted["data"]),
    }
    without_bloat = 72 + len(content["meta_cbor"]) + len(content["data_cbor"])
    length = size_class(wanted["size_classes"], len(wanted["context"].encode()), wanted["limit"], without_bloat)
    bloat = os.urandom(length - without_bloat)
    token = seal_token(seal_key, fingerprint_key, wanted["context"], content, os.urandom(24), bloat)
    print(encode_base64url(token))


if __name__ == "__main__":
    if sys.argv[1:] == ["seal"]:
        seal_from_stdin()
    elif not sys.argv[1:]:
        check_all()
    else:
        raise SystemExit(__doc__)
