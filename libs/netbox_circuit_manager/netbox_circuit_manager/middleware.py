"""Keeps NetBox's media address from handing out the plugin's files."""

import posixpath
from collections.abc import Callable

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from .storage import FOLDER


class UploadedFilesMiddleware:
    """NetBox serves uploads of plugins to whoever is logged in; contracts need the permission to view them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _args: object, kwargs: dict[str, str]
    ) -> None:
        match = request.resolver_match
        if match is None or match.view_name != "media":
            return
        path = posixpath.normpath(kwargs.get("path", "")).lstrip("/")
        if path == FOLDER or path.startswith(f"{FOLDER}/"):
            raise Http404(f"{settings.MEDIA_URL} does not serve this folder.")
