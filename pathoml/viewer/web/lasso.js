// Drawing around a region with mouse, pen or finger. While it is active the slide does not move.
export class Lasso {
  constructor(stage, finished, changed) {
    this.stage = stage;
    this.active = false;
    this.points = [];
    this.finished = finished;
    this.changed = changed;
    const place = stage.viewer.canvas;
    place.addEventListener("pointerdown", (event) => this.begin(event), true);
    place.addEventListener("pointermove", (event) => this.follow(event), true);
    place.addEventListener("pointerup", (event) => this.end(event), true);
  }

  toggle() {
    if (this.active) this.stop();
    else {
      this.active = true;
      this.apply();
    }
  }

  stop() {
    this.active = false;
    this.drawing = false;
    this.apply();
  }

  apply() {
    this.stage.viewer.setMouseNavEnabled(!this.active);
    this.stage.element.classList.toggle("drawing", this.active);
    this.changed();
  }

  begin(event) {
    if (!this.active || event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.drawing = true;
    this.points = [this.place(event)];
  }

  follow(event) {
    if (!this.drawing) return;
    event.preventDefault();
    event.stopPropagation();
    this.points.push(this.place(event));
    this.stage.map.mark(this.points, null, null);
  }

  end(event) {
    if (!this.drawing) return;
    event.preventDefault();
    event.stopPropagation();
    this.drawing = false;
    const points = this.points;
    this.stop();
    if (points.length > 2) this.finished(points);
  }

  place(event) {
    const box = this.stage.viewer.canvas.getBoundingClientRect();
    return this.stage.map.toSlide(
      new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top),
    );
  }
}
