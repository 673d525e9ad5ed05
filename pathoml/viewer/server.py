"""The viewer's routes: ids never paths, pixels from a bounded cache, and nothing written but
readings and the audit log.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pathoml.config import Study
from pathoml.engines.local import available_workers
from pathoml.errors import CohortError, PathomlError, SlideError, StoreError
from pathoml.slides.reading import slide_mpp
from pathoml.store.readings import MOST_NAME, Readings
from pathoml.training.heads import is_of_a_file
from pathoml.viewer.access import LOOPBACK, Border, Gate
from pathoml.viewer.assets import PAGES, Asset, read_assets
from pathoml.viewer.catalogue import (
    entry_for,
    gallery_payload,
    read_map,
    read_slide_tiles,
    slide_payload,
    study_payload,
)
from pathoml.viewer.layers import map_arrays
from pathoml.viewer.mini_map import draw_mini_map
from pathoml.viewer.phenotypes import slide_phenotypes
from pathoml.viewer.pixels import Pixels, encode_jpeg
from pathoml.viewer.reading_desk import ReadingDesk
from pathoml.viewer.replies import (
    ASK_AGAIN,
    NEVER,
    json_answer,
    picture_ask_again,
    picture_for_ever,
)
from pathoml.viewer.requests import Refused, text_field, tile_positions, whole_number
from pathoml.viewer.shown import STATE, Showing, Shown
from pathoml.viewer.visitors import Visitor
from pathoml.viewer.what_if import ModelsProcess, Question

ONE_DAY = "private, max-age=86400"
THUMBNAIL_PX, CROP_PX = 360, 128
MOST_LEVEL, MOST_TILE = 40, 2**24  # beyond any slide; numbers above are not even looked up
MOST_QUESTIONS = 8  # waiting for the models; each holds a thread that pages need too
MAP_LATER = "The map is shown after the first read is saved."


class Viewer:
    """One study being shown."""

    def __init__(
        self,
        study: Study,
        *,
        blinded_only: bool = False,
        bound_raters: Sequence[str] = (),
        run_head: bool = False,
    ) -> None:
        self.study = study
        self.may_run_models = run_head or not is_of_a_file(study.config.train.head)
        self.assets: dict[str, Asset] = read_assets()
        self.readings = Readings(study.readings_file)
        self.showing = Showing(study)
        self.desk = ReadingDesk(
            self.showing,
            self.readings,
            blinded_only=blinded_only,
            bound_raters=tuple(bound_raters),
        )
        self.pixels = Pixels(self.showing.last.catalogue.paths)
        self.models = ModelsProcess(study)
        self.pool = ThreadPoolExecutor(
            max_workers=max(2, min(8, 2 * available_workers())), thread_name_prefix="pixels"
        )
        self._questions = threading.BoundedSemaphore(MOST_QUESTIONS)

    # Whom an address means

    def version_of(self, key: str, visitor: Visitor, shown: Shown) -> str:
        """Return the version in the addresses of a slide's pixels; of a reading-room code one that
        tells nothing of the slide.
        """
        slide_id = self.desk.slide_of(key, visitor, shown)
        version = shown.catalogue.slides[slide_id].version
        if self.desk.seat_of(key, visitor) is None:
            return version
        return hmac.new(
            self.readings.blinding_key, f"{key}/{version}".encode(), "sha256"
        ).hexdigest()[:16]

    def require_version(self, request: Request, shown: Shown) -> None:
        """Refuse an address of pixels that are no longer there, which the browser would keep for
        ever.
        """
        now = self.version_of(request.path_params["key"], request.state.visitor, shown)
        if request.path_params["version"] != now:
            raise Refused(
                409, "The slide's file has changed since this page was opened. Load the page again."
            )

    def require_map(self, key: str, visitor: Visitor) -> None:
        if not self.desk.map_allowed(key, visitor):
            raise Refused(403, MAP_LATER)

    def open_order(self, request: Request) -> None:
        if self.desk.is_blinded(request.state.visitor):
            raise Refused(
                403,
                "This address is for blinded reading. Scores and maps are shown by a viewer that"
                " was started without --blinded, at its own address.",
            )

    def _now(self, request: Request) -> Shown:
        """Return the state that the asking page was drawn from, if it still is."""
        shown = self.showing.named_by(request)
        self.pixels.pool.follow(shown.catalogue.paths)
        return shown

    # Pages and assets

    def page(self, request: Request) -> Response:
        return self._asset(self.assets[PAGES[request.scope["path"]]], request)

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

    def get_state(self, request: Request) -> Response:
        """Who asks, and from which state of the study pages are drawn now."""
        visitor: Visitor = request.state.visitor
        shown = self.showing.now()
        who = {"rater": visitor.rater, "blinded": self.desk.is_blinded(visitor)}
        return json_answer({**who, "state": shown.state}, shown.state)

    def get_study(self, request: Request) -> Response:
        self.open_order(request)
        shown = self._now(request)
        return json_answer(study_payload(shown.catalogue), shown.state)

    def get_gallery(self, request: Request) -> Response:
        self.open_order(request)
        shown = self._now(request)
        return json_answer({"gallery": gallery_payload(shown.catalogue)}, shown.state)

    def get_slide(self, request: Request) -> Response:
        key, visitor = request.path_params["key"], request.state.visitor
        shown = self._now(request)
        slide_id, seat = (
            self.desk.slide_of(key, visitor, shown),
            self.desk.seat_of(key, visitor),
        )
        size_l0, mpp = self._geometry(slide_id, shown)
        entry = entry_for(shown.catalogue, slide_id, size_l0)
        self.readings.audit(
            "open",
            slide_id,
            seat.rater if seat else "",
            model_sha256=shown.model_sha256,
            detail={"blinded": seat is not None},
        )
        if seat is None:
            payload = slide_payload(shown.catalogue, slide_id, size_l0, mpp=mpp)
            return json_answer(payload, shown.state)
        allowed = self.desk.map_allowed(key, visitor)
        blinded = {
            "slide_id": key,
            "version": self.version_of(key, visitor, shown),
            "size_l0": list(size_l0),
            "mpp": mpp,
            "has_map": entry.has_map and allowed,
            "warnings": [],
        }
        return json_answer(
            {
                **blinded,
                "phenotype": seat.item.phenotype,
                "bag_tiles": entry.bag_tiles if allowed else 0,
            },
            shown.state,
        )

    def _geometry(self, slide_id: str, shown: Shown) -> tuple[tuple[int, int], float | None]:
        slide = shown.catalogue.slides[slide_id].slide
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
        key, visitor = request.path_params["key"], request.state.visitor
        shown = self._now(request)
        slide_id = self.desk.slide_of(key, visitor, shown)
        self.require_map(key, visitor)
        entry = entry_for(shown.catalogue, slide_id, self._geometry(slide_id, shown)[0])
        tile_map = read_map(self.study, slide_id) if entry.has_map else None
        phenotype = slide_phenotypes(self.study, tile_map) if tile_map is not None else None
        block = map_arrays(tile_map, read_slide_tiles(self.study, slide_id), phenotype)
        self.showing.require_still(shown)
        return Response(
            block,
            media_type="application/octet-stream",
            headers={"cache-control": NEVER, STATE: shown.state},
        )

    def get_thumbnail(self, request: Request) -> Response:
        shown = self.showing.last
        slide_id = self.desk.slide_of(request.path_params["key"], request.state.visitor, shown)
        self.require_version(request, shown)
        return picture_for_ever(self.pixels.thumbnail(slide_id, THUMBNAIL_PX))

    def get_mini_map(self, request: Request) -> Response:
        key, visitor = request.path_params["key"], request.state.visitor
        shown = self._now(request)
        slide_id = self.desk.slide_of(key, visitor, shown)
        if self.desk.seat_of(key, visitor) is not None:
            raise Refused(403, MAP_LATER)
        entry = entry_for(shown.catalogue, slide_id, self._geometry(slide_id, shown)[0])
        if not entry.has_map:
            return picture_ask_again(request, self.pixels.thumbnail(slide_id, THUMBNAIL_PX))

        def draw() -> bytes:
            image, downsample = self.pixels.thumbnail_pixels(slide_id, THUMBNAIL_PX)
            tile_map = read_map(self.study, slide_id)
            self.showing.require_still(shown)
            return encode_jpeg(
                draw_mini_map(
                    image,
                    downsample,
                    tile_map,
                    bag_tiles=entry.bag_tiles,
                    limit=shown.catalogue.scale["contribution"],
                )
            )

        what = ("mini map", THUMBNAIL_PX, shown.state)
        return picture_ask_again(request, self.pixels.cached(slide_id, what, draw) or b"")

    def get_crop(self, request: Request) -> Response:
        key, visitor = request.path_params["key"], request.state.visitor
        index = whole_number(request.path_params["index"])
        shown = self._now(request)
        slide_id = self.desk.slide_of(key, visitor, shown)
        self.require_map(key, visitor)
        if not shown.catalogue.slides[slide_id].has_map:  # or one of an earlier state of the run
            raise Refused(404, "There is no map of this slide.")
        tile_map = read_map(self.study, slide_id)
        self.showing.require_still(shown)
        if index >= len(tile_map.xy_l0):
            raise Refused(404, "There is no such tile.")
        x, y = (int(v) for v in tile_map.xy_l0[index])
        return picture_ask_again(
            request, self.pixels.crop(slide_id, (x, y), tile_map.tile_l0, side_px=CROP_PX)
        )

    async def get_tile(self, request: Request) -> Response:
        values = request.path_params
        level, column, row = (whole_number(values[name]) for name in ("level", "column", "row"))
        shown = self.showing.last
        slide_id = self.desk.slide_of(values["key"], request.state.visitor, shown)
        if level > MOST_LEVEL or max(column, row) > MOST_TILE:
            raise Refused(404, "There is no such tile.")
        self.require_version(request, shown)
        found = self.pixels.kept_tile(slide_id, level, column, row=row)
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(
                self.pool, partial(self.pixels.tile, slide_id, level, column, row=row)
            )
        if found is None:
            raise Refused(404, "There is no such tile.")
        return picture_for_ever(found)

    async def post_what_if(self, request: Request) -> Response:
        self.open_order(request)
        if not self.may_run_models:
            raise Refused(
                409,
                f"The models need code of this study, {self.study.config.train.head}, which is not"
                " run unasked. If you know it, start the viewer again with --run-head.",
            )
        key = text_field(request.state.body, "slide", MOST_NAME, required=True)
        tiles = tile_positions(request.state.body)
        return await run_in_threadpool(self._what_if, key, tiles, request)

    def _what_if(self, key: str, tiles: Sequence[int], request: Request) -> Response:
        shown = self._now(request)
        slide_id = self.desk.slide_of(key, request.state.visitor, shown)
        patient = shown.catalogue.patient_of(slide_id)
        score = shown.catalogue.scores.get(patient.patient_id)
        if score is None:
            raise Refused(409, "This patient has no score yet. Run `pathoml run`.")
        question = Question(
            patient=patient,
            removed={slide_id: tiles},
            log_risk=score["log_risk"],
            model_sha256=score["model_sha256"],
        )
        if not self._questions.acquire(blocking=False):
            raise Refused(503, "Others are asking the models just now. Ask again in a moment.")
        try:
            answer = self.models.answer(question)
        finally:
            self._questions.release()
        if tiles:
            self.readings.audit(
                "what_if",
                slide_id,
                "",
                model_sha256=shown.model_sha256,
                detail={"tiles": answer.tiles_removed},
            )
        every = [row["log_risk"] for row in shown.catalogue.scores.values()]
        percentiles = {
            "percentile": 100 * sum(r <= answer.log_risk for r in every) / len(every),
            "percentile_without": 100 * sum(r <= answer.without for r in every) / len(every),
        }
        return json_answer({**vars(answer), **percentiles}, shown.state)


def create_app(
    study: Study,
    *,
    border: Border | None = None,
    blinded_only: bool = False,
    warm: bool = False,
    run_head: bool = False,
) -> Gate:
    """Return the viewer of a study as an ASGI application.

    Args:
        border: who may ask; if not given, on loopback whoever knows the token that is made up then,
            `create_app(study).border.token`.
        blinded_only: serve the reading room and nothing that unblinds.
        warm: load the models in the background, so that the first what-if is as quick as the next.
        run_head: run the file of the study that train.head names, if it names one; without it the
            risk without a region is not told for such a head.
    """
    border = border or Border(hosts=LOOPBACK)
    viewer = Viewer(study, blinded_only=blinded_only, bound_raters=border.raters, run_head=run_head)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        if warm and viewer.may_run_models and not blinded_only:
            threading.Thread(target=_warm, args=(viewer,), daemon=True).start()
        yield
        viewer.pool.shutdown(wait=False, cancel_futures=True)
        viewer.models.close()
        viewer.pixels.pool.close()

    tile = "/tiles/{key}/{version}/{level}/{column}_{row}.jpg"
    routes = [
        Route(tile, viewer.get_tile),
        *(Route(path, viewer.page) for path in PAGES),
        Route("/static/{name:path}", viewer.asset),
        Route("/api/state", viewer.get_state),
        Route("/api/study", viewer.get_study),
        Route("/api/gallery", viewer.get_gallery),
        Route("/api/slides/{key}", viewer.get_slide),
        Route("/api/slides/{key}/layers", viewer.get_layers),
        Route("/thumbnails/{key}/{version}.jpg", viewer.get_thumbnail),
        Route("/mini-maps/{key}/{version}.jpg", viewer.get_mini_map),
        Route("/crops/{key}/{version}/{index}.jpg", viewer.get_crop),
        Route("/api/what-if", viewer.post_what_if, methods=["POST"]),
        Route("/api/reading-room", viewer.desk.post_room, methods=["POST"]),
        Route("/api/readings", viewer.desk.post_reading, methods=["POST"]),
        Route("/api/names", viewer.desk.get_names),
        Route("/api/readings.csv", viewer.desk.get_readings_csv),
    ]
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        Refused: _refused,
        PathomlError: _unable,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.state.viewer = viewer
    return Gate(app, border, viewer.assets)


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
