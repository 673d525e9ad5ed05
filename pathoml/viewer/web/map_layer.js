// Draws a raster over the slide, true tile borders and no blur, in step with every frame of the
// slide below.
export class MapLayer {
  constructor(viewer, widthL0) {
    this.viewer = viewer;
    this.widthL0 = widthL0;
    this.opacity = 0.6;
    this.visible = true;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "map-layer";
    this.canvas.setAttribute("aria-hidden", "true");
    viewer.canvas.append(this.canvas);
    this.picture = document.createElement("canvas");
    for (const event of ["update-viewport", "resize", "open"])
      viewer.addHandler(event, () => this.draw());
  }

  // Where a level-0 point lies on the screen, in CSS pixels of the viewer.
  toScreen(x, y) {
    return this.viewer.viewport.viewportToViewerElementCoordinates(
      new OpenSeadragon.Point(x / this.widthL0, y / this.widthL0),
    );
  }

  toSlide(point) {
    const place = this.viewer.viewport.viewerElementToViewportCoordinates(point);
    return [place.x * this.widthL0, place.y * this.widthL0];
  }

  // Screen = matrix × level 0. Three exact points carry pan, zoom, rotation and flip.
  matrix() {
    const side = this.widthL0;
    const origin = this.toScreen(0, 0);
    const x = this.toScreen(side, 0);
    const y = this.toScreen(0, side);
    return new DOMMatrix([
      (x.x - origin.x) / side,
      (x.y - origin.y) / side,
      (y.x - origin.x) / side,
      (y.y - origin.y) / side,
      origin.x,
      origin.y,
    ]);
  }

  // Take new colours; the next frame shows them.
  show(grid, packed, outline) {
    this.grid = grid;
    this.packed = packed;
    if (grid?.regular) {
      this.picture.width = grid.columns;
      this.picture.height = grid.rows;
      const image = new ImageData(grid.columns, grid.rows);
      const pixels = new Uint32Array(image.data.buffer);
      for (let i = 0; i < packed.length; i++) pixels[grid.cells[i]] = packed[i];
      this.picture.getContext("2d").putImageData(image, 0, 0);
    }
    this.border = outline && grid ? outlineOf(grid, packed) : null;
    this.draw();
  }

  mark(polygon, tiles, grid) {
    this.region = polygon;
    this.marked = tiles && grid ? outlineOf(grid, markedOnly(grid, tiles)) : null;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.viewer.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (
      this.canvas.width !== Math.round(width * ratio) ||
      this.canvas.height !== Math.round(height * ratio)
    ) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.resetTransform();
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.viewer.world.getItemCount() && !this.viewer.isOpen()) return;
    const matrix = new DOMMatrix().scale(ratio).multiply(this.matrix());
    if (this.visible && this.grid) {
      context.setTransform(matrix);
      context.globalAlpha = this.opacity;
      context.imageSmoothingEnabled = false;
      const { left, top, side, columns, rows } = this.grid;
      if (this.grid.regular)
        context.drawImage(this.picture, left, top, columns * side, rows * side);
      else this.drawOneByOne(context);
      context.globalAlpha = 1;
    }
    context.resetTransform();
    if (this.visible && this.border)
      stroke(context, this.border, matrix, "rgba(20, 20, 20, 0.9)", 1.5 * ratio);
    if (this.marked) {
      stroke(context, this.marked, matrix, "#fff", 4 * ratio);
      stroke(context, this.marked, matrix, "#b00060", 2 * ratio);
    }
    if (this.region && this.region.length > 1) {
      const path = new Path2D();
      for (const [x, y] of this.region) path.lineTo(x, y); // the first of them moves there
      path.closePath();
      stroke(context, path, matrix, "#b00060", 2 * ratio, [6 * ratio, 4 * ratio]);
    }
  }

  drawOneByOne(context) {
    const { xy, side } = this.grid;
    for (let i = 0; i < this.packed.length; i++) {
      const colour = this.packed[i];
      if (!colour) continue;
      const red = colour & 255;
      const green = (colour >> 8) & 255;
      const blue = (colour >> 16) & 255;
      context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${(colour >>> 24) / 255})`;
      context.fillRect(xy[2 * i], xy[2 * i + 1], side, side);
    }
  }
}

function stroke(context, path, matrix, style, width, dash = []) {
  const placed = new Path2D();
  placed.addPath(path, matrix); // the path is in level-0 pixels, the line's width in screen pixels
  context.strokeStyle = style;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.stroke(placed);
}

function markedOnly(grid, tiles) {
  const packed = new Uint32Array(grid.cells.length);
  for (const tile of tiles) packed[tile] = 1;
  return packed;
}

// The border of the union of the drawn tiles, as one path in level-0 pixels.
function outlineOf(grid, packed) {
  const path = new Path2D();
  const { side } = grid;
  if (!grid.regular) {
    for (let i = 0; i < packed.length; i++)
      if (packed[i]) path.rect(grid.xy[2 * i], grid.xy[2 * i + 1], side, side);
    return path;
  }
  const filled = new Uint8Array(grid.columns * grid.rows);
  for (let i = 0; i < packed.length; i++) if (packed[i]) filled[grid.cells[i]] = 1;
  const at = (column, row) =>
    column >= 0 &&
    row >= 0 &&
    column < grid.columns &&
    row < grid.rows &&
    filled[row * grid.columns + column];
  const line = (xa, ya, xb, yb) => {
    path.moveTo(grid.left + xa * side, grid.top + ya * side);
    path.lineTo(grid.left + xb * side, grid.top + yb * side);
  };
  for (let row = 0; row <= grid.rows; row++) {
    // runs of horizontal edges, so that a large map has few of them
    for (let column = 0, start = -1; column <= grid.columns; column++) {
      const edge =
        column < grid.columns &&
        at(column, row) !== at(column, row - 1) &&
        Boolean(at(column, row)) !== Boolean(at(column, row - 1));
      if (edge && start < 0) start = column;
      if (!edge && start >= 0) {
        line(start, row, column, row);
        start = -1;
      }
    }
  }
  for (let column = 0; column <= grid.columns; column++) {
    for (let row = 0, start = -1; row <= grid.rows; row++) {
      const edge = row < grid.rows && Boolean(at(column, row)) !== Boolean(at(column - 1, row));
      if (edge && start < 0) start = row;
      if (!edge && start >= 0) {
        line(column, start, column, row);
        start = -1;
      }
    }
  }
  return path;
}
