"""The viewer's routes: ids never paths, pixels from a bounded cache, and nothing written but
readings and the audit log.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pathoml.config import Study
from pathoml.engines.local import available_workers
from pathoml.errors import CohortError, PathomlError, SlideError, StoreError
from pathoml.slides.reading import slide_mpp
from pathoml.store.readings import MOST_NAME, Reading, Readings
from pathoml.viewer.access import LOOPBACK, Border, Gate
from pathoml.viewer.assets import PAGES, Asset, read_assets
from pathoml.viewer.catalogue import (
    Catalogue,
    entry_for,
    gallery_payload,
    model_sha256,
    read_catalogue,
    read_map,
    read_slide_tiles,
    slide_payload,
    study_payload,
)
from pathoml.viewer.layers import map_arrays
from pathoml.viewer.mini_map import draw_mini_map
from pathoml.viewer.phenotypes import slide_phenotypes
from pathoml.viewer.pixels import Pixels, encode_jpeg
from pathoml.viewer.reading_room import Seat, is_read, reading_items, seats
from pathoml.viewer.requests import Refused, rater_field, rating_fields, text_field, tile_positions
from pathoml.viewer.what_if import ModelsProcess, Question

FOR_EVER = "private, max-age=31536000, immutable"  # the address holds the slide's version
ASK_AGAIN = "private, no-cache"
ONE_DAY = "private, max-age=86400"
NEVER = "no-store"
THUMBNAIL_PX, CROP_PX = 360, 128
MOST_LEVEL, MOST_TILE = 40, 2**24  # beyond any slide; numbers above are not even looked up


class Viewer:
    """One study being shown."""

    def __init__(self, study: Study, *, blinded_only: bool = False) -> None:
        self.study = study
        self.blinded_only = blinded_only
        self.catalogue: Catalogue = read_catalogue(study)
        self.assets: dict[str, Asset] = read_assets()
        self.pixels = Pixels(self.catalogue.paths)
        self.readings = Readings(study.folder / "readings" / "readings.sqlite")
        self.models = ModelsProcess(study)
        self.model_sha256 = model_sha256(study)
        self.items = reading_items(study.run_folder, list(self.catalogue.slides))
        self.pool = ThreadPoolExecutor(
            max_workers=max(2, min(8, 2 * available_workers())), thread_name_prefix="pixels"
        )
        self._seats: dict[str, Seat] = {}
        self._seats_lock = threading.Lock()

    # Whom an address means

    def slide_of(self, key: str) -> str:
        """Return the slide_id of an id or of a reading-room code.

        Raises:
            Refused: 404; in a viewer for blinded reading only codes lead anywhere.
        """
        seat = self._seats.get(key)
        if seat is not None:
            return seat.item.slide_id
        if key in self.catalogue.slides and not self.blinded_only:
            return key
        raise Refused(404, "There is no such slide in this study.")

    def seat_of(self, key: str) -> Seat | None:
        return self._seats.get(key)

    def version_of(self, key: str) -> str:
        """Return the version in the addresses of a slide's pixels; of a reading-room code one that
        tells nothing of the slide.
        """
        version = self.catalogue.slides[self.slide_of(key)].version
        if self.seat_of(key) is None:
            return version
        return hmac.new(
            self.readings.blinding_key, f"{key}/{version}".encode(), "sha256"
        ).hexdigest()[:16]

    def require_version(self, request: Request) -> None:
        """Refuse an address of pixels that are no longer there, which the browser would keep for
        ever.
        """
        if request.path_params["version"] != self.version_of(request.path_params["key"]):
            raise Refused(
                409, "The slide's file has changed since this page was opened. Load the page again."
            )

    def order(self, rater: str) -> list[Seat]:
        """Return a rater's order and remember its codes."""
        mine = seats(self.items, rater, self.readings.blinding_key)
        with self._seats_lock:
            if len(self._seats) > 100_000:  # thousands of made-up raters
                self._seats.clear()
            self._seats.update({seat.code: seat for seat in mine})
        return mine

    def map_allowed(self, key: str) -> bool:
        """Return whether colours may be shown: never before the first read of a blinded item."""
        seat = self._seats.get(key)
        return seat is None or is_read(seat, self.readings.rows(blinded=True, rater=seat.rater))

    def open_order(self) -> None:
        if self.blinded_only:
            raise Refused(
                403,
                "This viewer was started for blinded reading. Start it without --blinded for scores"
                " and maps.",
            )

    # Pages and assets

    def page(self, request: Request) -> Response:
        return self._asset(self.assets[PAGES[request.url.path]], request)

    def asset(self, request: Request) -> Response:
        asset = self.assets.get(request.path_params["name"])
        if asset is None:
            raise Refused(404, "There is no such file.")
        return self._asset(asset, request)

    @staticmethod
    def _asset(asset: Asset, request: Request) -> Response:
        lasts = (
            ONE_DAY if asset.media_type == "image/svg+xml" else ASK_AGAIN
        )  # a browser asks for the icon at every change of address
        headers = {"cache-control": lasts, "etag": asset.etag}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    # What the pages ask for

    def get_study(self, _: Request) -> Response:
        self.open_order()
        return _json(study_payload(self.catalogue))

    def get_gallery(self, _: Request) -> Response:
        self.open_order()
        return _json({"gallery": gallery_payload(self.catalogue)})

    def get_slide(self, request: Request) -> Response:
        key = request.path_params["key"]
        slide_id, seat = self.slide_of(key), self.seat_of(key)
        size_l0, mpp = self._geometry(slide_id)
        entry = entry_for(self.catalogue, slide_id, size_l0)
        self.readings.audit(
            "open",
            slide_id,
            seat.rater if seat else "",
            model_sha256=self.model_sha256,
            detail={"blinded": seat is not None},
        )
        if seat is None:
            return _json(slide_payload(self.catalogue, slide_id, size_l0, mpp=mpp))
        allowed = self.map_allowed(key)
        blinded = {
            "slide_id": key,
            "version": self.version_of(key),
            "size_l0": list(size_l0),
            "mpp": mpp,
            "has_map": entry.has_map and allowed,
            "warnings": [],
        }
        return _json(
            {
                **blinded,
                "phenotype": seat.item.phenotype,
                "bag_tiles": entry.bag_tiles if allowed else 0,
            }
        )

    def _geometry(self, slide_id: str) -> tuple[tuple[int, int], float | None]:
        slide = self.catalogue.slides[slide_id].slide
        try:
            with self.pixels.pool.borrow(slide_id) as reader:
                try:
                    mpp, _ = slide_mpp(
                        reader, slide_id, row_mpp=slide.mpp, study_mpp=self.study.config.slides.mpp
                    )
                except SlideError:
                    return reader.size_l0, None
                return reader.size_l0, mpp
        except SlideError:
            tile_map = read_map(
                self.study, slide_id
            )  # no pixels: the map alone still says the size
            return tile_map.size_l0, tile_map.level0_mpp

    def get_layers(self, request: Request) -> Response:
        key = request.path_params["key"]
        slide_id = self.slide_of(key)
        if not self.map_allowed(key):
            raise Refused(403, "The map is shown after the first read is saved.")
        entry = entry_for(self.catalogue, slide_id, self._geometry(slide_id)[0])
        tile_map = read_map(self.study, slide_id) if entry.has_map else None
        phenotype = slide_phenotypes(self.study, tile_map) if tile_map is not None else None
        block = map_arrays(tile_map, read_slide_tiles(self.study, slide_id), phenotype)
        return Response(
            block, media_type="application/octet-stream", headers={"cache-control": NEVER}
        )

    def get_thumbnail(self, request: Request) -> Response:
        slide_id = self.slide_of(request.path_params["key"])
        self.require_version(request)
        return _for_ever(self.pixels.thumbnail(slide_id, THUMBNAIL_PX))

    def get_mini_map(self, request: Request) -> Response:
        key = request.path_params["key"]
        slide_id = self.slide_of(key)
        if self.seat_of(key) is not None:
            raise Refused(403, "The map is shown after the first read is saved.")
        entry = entry_for(self.catalogue, slide_id, self._geometry(slide_id)[0])
        if not entry.has_map:
            return _ask_again(request, self.pixels.thumbnail(slide_id, THUMBNAIL_PX))

        def draw() -> bytes:
            image, downsample = self.pixels.thumbnail_pixels(slide_id, THUMBNAIL_PX)
            tile_map = read_map(self.study, slide_id)
            return encode_jpeg(
                draw_mini_map(
                    image,
                    downsample,
                    tile_map,
                    bag_tiles=entry.bag_tiles,
                    limit=self.catalogue.scale["contribution"],
                )
            )

        return _ask_again(
            request, self.pixels.cached(slide_id, ("mini map", THUMBNAIL_PX), draw) or b""
        )

    def get_crop(self, request: Request) -> Response:
        key, index = request.path_params["key"], request.path_params["index"]
        slide_id = self.slide_of(key)
        if not self.map_allowed(key):
            raise Refused(403, "The map is shown after the first read is saved.")
        tile_map = read_map(self.study, slide_id)
        if index >= len(tile_map.xy_l0):
            raise Refused(404, "There is no such tile.")
        x, y = (int(v) for v in tile_map.xy_l0[index])
        return _ask_again(
            request, self.pixels.crop(slide_id, (x, y), tile_map.tile_l0, side_px=CROP_PX)
        )

    async def get_tile(self, request: Request) -> Response:
        values = request.path_params
        level, column, row = values["level"], values["column"], values["row"]
        slide_id = self.slide_of(values["key"])
        if level > MOST_LEVEL or max(column, row) > MOST_TILE:
            raise Refused(404, "There is no such tile.")
        self.require_version(request)
        found = self.pixels.kept_tile(slide_id, level, column, row=row)
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(
                self.pool, partial(self.pixels.tile, slide_id, level, column, row=row)
            )
        if found is None:
            raise Refused(404, "There is no such tile.")
        return _for_ever(found)

    # What people do

    async def post_what_if(self, request: Request) -> Response:
        self.open_order()
        body = await _body(request)
        slide_id = self.slide_of(text_field(body, "slide", MOST_NAME, required=True))
        tiles = tile_positions(body)
        return await run_in_threadpool(self._what_if, slide_id, tiles)

    def _what_if(self, slide_id: str, tiles: Sequence[int]) -> Response:
        patient = self.catalogue.patient_of(slide_id)
        score = self.catalogue.scores.get(patient.patient_id)
        if score is None:
            raise Refused(409, "This patient has no score yet. Run `pathoml run`.")
        question = Question(
            patient=patient,
            removed={slide_id: tiles},
            log_risk=score["log_risk"],
            model_sha256=score["model_sha256"],
        )
        answer = self.models.answer(question)
        if tiles:
            self.readings.audit(
                "what_if",
                slide_id,
                "",
                model_sha256=self.model_sha256,
                detail={"tiles": answer.tiles_removed},
            )
        every = [row["log_risk"] for row in self.catalogue.scores.values()]
        percentiles = {
            "percentile": 100 * sum(r <= answer.log_risk for r in every) / len(every),
            "percentile_without": 100 * sum(r <= answer.without for r in every) / len(every),
        }
        return _json({**vars(answer), **percentiles})

    async def post_room(self, request: Request) -> Response:
        rater = rater_field(await _body(request))
        return await run_in_threadpool(self._room, rater)

    def _room(self, rater: str) -> Response:
        order, rows = self.order(rater), self.readings.rows(blinded=True, rater=rater)
        items = [
            {"code": s.code, "done": is_read(s, rows), "phenotype": s.item.phenotype} for s in order
        ]
        self.readings.audit(
            "reading_room", "", rater, model_sha256=self.model_sha256, detail={"items": len(items)}
        )
        return _json(
            {
                "items": items,
                "names": self.readings.names(),
                "phenotypes": sorted({s.item.phenotype for s in order} - {""}),
            }
        )

    async def post_reading(self, request: Request) -> Response:
        body = await _body(request)
        fields = rating_fields(body)
        key = text_field(body, "slide", MOST_NAME, required=True)
        return await run_in_threadpool(self._save, key, fields)

    def _save(self, key: str, fields: dict[str, Any]) -> Response:
        slide_id, seat = self.slide_of(key), self.seat_of(key)
        if seat is not None:
            if seat.rater != fields["rater"]:
                raise Refused(403, "This place in the order belongs to another rater.")
            fields = {**fields, "phenotype": seat.item.phenotype}
            reading = Reading(
                item=seat.item.item, slide_id=slide_id, repeat=seat.repeat, blinded=True, **fields
            )
        else:
            reading = Reading(item=slide_id, slide_id=slide_id, **fields)
        count = self.readings.save(reading, self.model_sha256)
        return _json({"saved": count, "names": self.readings.names()}, status=201)

    def get_names(self, _: Request) -> Response:
        return _json({"names": self.readings.names()})

    def get_readings_csv(self, request: Request) -> Response:
        blinded = request.query_params.get("of", "reading_room") != "viewer"
        self.readings.audit(
            "export", "", "", model_sha256=self.model_sha256, detail={"blinded": blinded}
        )
        headers = {
            "content-disposition": 'attachment; filename="readings.csv"',
            "cache-control": NEVER,
        }
        return Response(
            self.readings.as_csv(blinded=blinded),
            media_type="text/csv; charset=utf-8",
            headers=headers,
        )


def create_app(
    study: Study, *, border: Border | None = None, blinded_only: bool = False, warm: bool = False
) -> ASGIApp:
    """Return the viewer of a study as an ASGI application.

    Args:
        border: who may ask; loopback only if not given.
        blinded_only: serve the reading room and nothing that unblinds.
        warm: load the models in the background, so that the first what-if is as quick as the next.
    """
    viewer = Viewer(study, blinded_only=blinded_only)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        if warm and not blinded_only:
            threading.Thread(target=_warm, args=(viewer,), daemon=True).start()
        yield
        viewer.pool.shutdown(wait=False, cancel_futures=True)
        viewer.models.close()
        viewer.pixels.pool.close()

    tile = "/tiles/{key}/{version}/{level:int}/{column:int}_{row:int}.jpg"
    routes = [
        Route(tile, viewer.get_tile),
        *(Route(path, viewer.page) for path in PAGES),
        Route("/static/{name:path}", viewer.asset),
        Route("/api/study", viewer.get_study),
        Route("/api/gallery", viewer.get_gallery),
        Route("/api/slides/{key}", viewer.get_slide),
        Route("/api/slides/{key}/layers", viewer.get_layers),
        Route("/thumbnails/{key}/{version}.jpg", viewer.get_thumbnail),
        Route("/mini-maps/{key}/{version}.jpg", viewer.get_mini_map),
        Route("/crops/{key}/{version}/{index:int}.jpg", viewer.get_crop),
        Route("/api/what-if", viewer.post_what_if, methods=["POST"]),
        Route("/api/reading-room", viewer.post_room, methods=["POST"]),
        Route("/api/readings", viewer.post_reading, methods=["POST"]),
        Route("/api/names", viewer.get_names),
        Route("/api/readings.csv", viewer.get_readings_csv),
    ]
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        Refused: _refused,
        PathomlError: _unable,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.state.viewer = viewer
    return Gate(app, border or Border(hosts=LOOPBACK))


def _warm(viewer: Viewer) -> None:
    try:
        viewer.models.warm()
    except PathomlError as error:  # the question itself will say it again
        viewer.readings.audit("models_not_loaded", detail={"reason": str(error)})


async def _refused(_: Request, error: Refused) -> Response:
    return PlainTextResponse(
        f"{error}\n", status_code=error.status, headers={"cache-control": NEVER}
    )


async def _unable(_: Request, error: PathomlError) -> Response:
    """A slide or file that cannot be read: the sentence without the folder it lies in."""
    status = (
        404 if isinstance(error, StoreError) else 422 if isinstance(error, CohortError) else 502
    )
    return PlainTextResponse(f"{error}\n", status_code=status, headers={"cache-control": NEVER})


async def _body(request: Request) -> dict[str, Any]:
    try:
        content = json.loads(await request.body())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "The request is not JSON.") from None
    if not isinstance(content, dict):
        raise Refused(400, "The request is not a JSON object.")
    return content


def _json(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status_code=status, headers={"cache-control": NEVER})


def _for_ever(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg", headers={"cache-control": FOR_EVER})


def _ask_again(request: Request, content: bytes) -> Response:
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"cache-control": ASK_AGAIN, "etag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)
