"""S3 in this process, by moto's server: buckets that tests look into, and a server that goes away and comes back."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request


class S3:
    """A server on loopback. What is in its buckets outlives a stop.

    Attributes:
        environment: by which boto3, pyarrow and whatever process find it.
    """

    def __init__(self) -> None:
        self._port = 0
        self.start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start it, on the port that it had."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        self._port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        """Nothing listens there any more."""
        self._server.stop()

    def bucket(self, name: str = "") -> Bucket:
        """A bucket, new without a name."""
        return Bucket(self, name or f"bucket-{uuid.uuid4().hex[:12]}")


class Bucket:
    """A bucket as another program sees it."""

    def __init__(self, server: S3, name: str) -> None:
        self.name, self.uri = name, f"s3://{name}"
        keys = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        names = ("endpoint_url", "aws_access_key_id", "aws_secret_access_key", "region_name")
        self._client = boto3.client(
            "s3", **{name: server.environment[key] for name, key in zip(names, keys, strict=True)}
        )
        self.make()

    def make(self) -> None:
        """Make it, empty."""
        self._client.create_bucket(Bucket=self.name)

    def drop(self) -> None:
        """Delete it, with all that is in it."""
        while True:
            for key in self.keys(folders=True):
                self.delete(key)
            try:
                self._client.delete_bucket(Bucket=self.name)
                return
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty":  # as somebody has written meanwhile
                    raise

    def keys(self, prefix: str = "", *, folders: bool = False) -> list[str]:
        """Names of its objects, without the empty ones that stand for folders."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        found = sorted(item["Key"] for page in pages for item in page.get("Contents", ()))
        return [key for key in found if folders or not key.endswith("/")]

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def get(self, key: str) -> bytes:
        """What is in an object."""
        found: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return found

    def written(self, suffix: str) -> dict[str, str]:
        """When each object whose name ends so was written."""
        heads = {
            key: self._client.head_object(Bucket=self.name, Key=key) for key in self.keys() if key.endswith(suffix)
        }
        return {key: head["LastModified"].isoformat() + head["ETag"] for key, head in heads.items()}

    def download(self, prefix: str, folder: Path) -> Path:
        """All below a prefix in a folder, as `aws s3 sync` leaves it there."""
        for key in self.keys(prefix):
            file = folder / key.removeprefix(prefix).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.get(key))
        return folder
