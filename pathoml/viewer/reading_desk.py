"""What raters ask for and hand in: the order of the reading room, a reading, the names of features.

Under blinding nobody gets to see what others wrote: not their readings, nor the names that they
gave.
"""

from __future__ import annotations

import threading
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from pathoml.store.readings import MOST_NAME, Reading, Readings
from pathoml.viewer.reading_room import Seat, is_read, seats
from pathoml.viewer.replies import NEVER, json_answer
from pathoml.viewer.requests import Refused, rater_field, rating_fields, text_field
from pathoml.viewer.shown import STATE, Showing, Shown
from pathoml.viewer.visitors import Visitor, same_rater

MOST_SEATS = 100_000  # remembered; more come of thousands of made-up raters


class ReadingDesk:
    """The reading room of one study and its open readings."""

    def __init__(
        self,
        showing: Showing,
        readings: Readings,
        *,
        blinded_only: bool,
        bound_raters: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            bound_raters: those who sign by a link of their own, and nobody else in their name.
        """
        self.readings = readings
        self._showing = showing
        self._blinded_only = blinded_only
        self._bound = bound_raters
        self._seats: dict[str, Seat] = {}
        self._seats_lock = threading.Lock()

    def is_blinded(self, visitor: Visitor) -> bool:
        """Return whether somebody may see nothing that unblinds: all, or whoever has a rater's
        link.
        """
        return self._blinded_only or bool(visitor.rater)

    def seat_of(self, key: str, visitor: Visitor) -> Seat | None:
        """Return the place that a code stands for; those of others are none to a rater."""
        seat = self._seats.get(key)
        if seat is not None and visitor.rater and seat.rater != visitor.rater:
            return None
        return seat

    def slide_of(self, key: str, visitor: Visitor, shown: Shown) -> str:
        """Return the slide_id of an id or of a reading-room code.

        Raises:
            Refused: 404; under blinding only codes lead anywhere.
        """
        seat = self.seat_of(key, visitor)
        slide_id = seat.item.slide_id if seat is not None else key
        if slide_id in shown.catalogue.slides and (seat or not self.is_blinded(visitor)):
            return slide_id
        raise Refused(404, "There is no such slide in this study.")

    def map_allowed(self, key: str, visitor: Visitor) -> bool:
        """Return whether colours may be shown: never before the first read of a blinded item."""
        seat = self.seat_of(key, visitor)
        return seat is None or is_read(seat, self.readings.rows(blinded=True, rater=seat.rater))

    def order(self, rater: str, shown: Shown) -> list[Seat]:
        """Return a rater's order and remember its codes."""
        mine = seats(shown.items, rater, self.readings.blinding_key)
        with self._seats_lock:
            if len(self._seats) > MOST_SEATS:
                self._seats.clear()
            self._seats.update({seat.code: seat for seat in mine})
        return mine

    def signed_by(self, body: dict[str, Any], visitor: Visitor) -> str:
        """Return in whose name somebody writes.

        Raises:
            Refused: 403, it is another's; 422, it is nobody's.
        """
        named = text_field(body, "rater", MOST_NAME)
        if visitor.rater:
            if named and named != visitor.rater:
                raise Refused(403, f"This link is for the readings of {visitor.rater}.")
            return visitor.rater
        named = rater_field(body)
        if any(same_rater(named, rater) for rater in self._bound):
            raise Refused(
                403, f"{named} reads by a link of their own, which `pathoml view` printed."
            )
        return named

    # What the pages ask for

    async def post_room(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        rater = self.signed_by(request.state.body, visitor)
        return await run_in_threadpool(self._room, rater)

    def _room(self, rater: str) -> Response:
        shown = self._showing.now()
        order, rows = self.order(rater, shown), self.readings.rows(blinded=True, rater=rater)
        items = [
            {"code": s.code, "done": is_read(s, rows), "phenotype": s.item.phenotype} for s in order
        ]
        self.readings.audit(
            "reading_room", "", rater, model_sha256=shown.model_sha256, detail={"items": len(items)}
        )
        return json_answer(
            {
                "rater": rater,
                "items": items,
                "names": self.readings.names(rater),
                "phenotypes": sorted({s.item.phenotype for s in order} - {""}),
            },
            shown.state,
        )

    async def post_reading(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        body = {**request.state.body}
        body["rater"] = self.signed_by(body, visitor)
        fields = rating_fields(body)
        key = text_field(body, "slide", MOST_NAME, required=True)
        return await run_in_threadpool(self._save, key, visitor, fields, request)

    def _save(
        self, key: str, visitor: Visitor, fields: dict[str, Any], request: Request
    ) -> Response:
        shown = self._showing.now()
        slide_id, seat = self.slide_of(key, visitor, shown), self.seat_of(key, visitor)
        if seat is not None:
            if seat.rater != fields["rater"]:
                raise Refused(403, "This place in the order belongs to another rater.")
            if seat.item not in shown.items:
                raise Refused(
                    409,
                    "What is to be read has changed since this page was opened. Copy your note, and"
                    " load the page again.",
                )
            fields = {**fields, "phenotype": seat.item.phenotype}
            reading = Reading(
                item=seat.item.item, slide_id=slide_id, repeat=seat.repeat, blinded=True, **fields
            )
        else:
            if fields["phenotype"]:  # its number may mean another one now
                self._showing.named_by(request)
            reading = Reading(item=slide_id, slide_id=slide_id, **fields)
        count = self.readings.save(reading, shown.model_sha256)
        names = self.readings.names(fields["rater"] if seat is not None else None)
        return json_answer({"saved": count, "names": names}, shown.state, status=201)

    def get_names(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        if not self.is_blinded(visitor):
            names = self.readings.names()
        else:
            names = self.readings.names(visitor.rater) if visitor.rater else []
        return json_answer({"names": names})

    def get_readings_csv(self, request: Request) -> Response:
        if self.is_blinded(request.state.visitor):
            raise Refused(
                403,
                "Readings are not handed out under blinding. Start `pathoml view` without --blinded"
                " and open its own address.",
            )
        blinded = request.query_params.get("of", "reading_room") != "viewer"
        self.readings.audit(
            "export",
            "",
            "",
            model_sha256=self._showing.last.model_sha256,
            detail={"blinded": blinded},
        )
        headers = {
            "content-disposition": 'attachment; filename="readings.csv"',
            "cache-control": NEVER,
            STATE: self._showing.last.state,
        }
        return Response(
            self.readings.as_csv(blinded=blinded),
            media_type="text/csv; charset=utf-8",
            headers=headers,
        )
