// Luma of places on the picture of a video.
//
// A frame's own luma plane is read where the browser gives it (WebCodecs, a
// secure context), else the picture is drawn on a canvas. The stream is from
// this server's own connection, so that the canvas is not tainted.

/** Formats whose first plane is luma, 8 bits. */
const PLANAR = ['I420', 'I420A', 'I422', 'I444', 'NV12'];

/** A place in thousandths (top, left, bottom, right) in cells. @typedef {{area: number[], columns: number, rows: number}} Grid */

/** @type {CanvasRenderingContext2D | null} */
let context = null;

/** Cells of places on a frame; null where its luma can't be read. @param {VideoFrame} frame @param {Grid[]} grids */
export async function lumaOfFrame(frame, grids) {
  return frame.format && PLANAR.includes(frame.format) ? Promise.all(grids.map((grid) => planar(frame, grid))) : null;
}

/**
 * Cells of places on the picture that a video shows now; null without one.
 * @param {HTMLVideoElement} video @param {Grid[]} grids
 * @returns {Promise<Float32Array[] | null>}
 */
export async function lumaOf(video, grids) {
  if (!video.videoWidth) return null;
  if ('VideoFrame' in globalThis) {
    const frame = new VideoFrame(video);
    try {
      const cells = await lumaOfFrame(frame, grids);
      if (cells) return cells;
    } finally {
      frame.close();
    }
  }
  return grids.map((grid) => drawn(video, grid));
}

/** Pixels that cells cover: each cell from the floor of its edge, as on the server. @param {Grid} grid @param {number} width @param {number} height */
function edges({ area, columns, rows }, width, height) {
  const [top, left, bottom, right] = area;
  /** @param {number} from @param {number} to @param {number} of @param {number} size */
  const along = (from, to, of, size) => {
    const [start, end] = [from * size / 1000, to * size / 1000];
    return Array.from({ length: of + 1 }, (_, at) => Math.floor(start + (end - start) * at / of));
  };
  return { x: along(left, right, columns, width), y: along(top, bottom, rows, height) };
}

/** @param {VideoFrame} frame @param {Grid} grid */
async function planar(frame, grid) {
  const { x: offsetX, y: offsetY, width, height } = /** @type {DOMRectReadOnly} */ (frame.visibleRect);
  const { x, y } = edges(grid, width, height);
  // Chroma samples are shared by two columns and rows.
  const [left, top] = [x[0] & ~1, y[0] & ~1];
  const right = Math.min(width, (x[x.length - 1] + 2) & ~1);
  const bottom = Math.min(height, (y[y.length - 1] + 2) & ~1);
  const rect = { x: offsetX + left, y: offsetY + top, width: right - left, height: bottom - top };
  const samples = new Uint8Array(frame.allocationSize({ rect }));
  const [{ offset, stride }] = await frame.copyTo(samples, { rect });
  return means(x, y, (row, column) => samples[offset + (row - top) * stride + column - left]);
}

/** @param {HTMLVideoElement} video @param {Grid} grid */
function drawn(video, grid) {
  const { x, y } = edges(grid, video.videoWidth, video.videoHeight);
  const [left, top] = [x[0], y[0]];
  const [width, height] = [Math.max(1, x[x.length - 1] - left + 1), Math.max(1, y[y.length - 1] - top + 1)];
  context ??= /** @type {CanvasRenderingContext2D} */ (document.createElement('canvas').getContext('2d', { willReadFrequently: true }));
  const { canvas } = context;
  canvas.width = Math.max(canvas.width, width);
  canvas.height = Math.max(canvas.height, height);
  context.drawImage(video, left, top, width, height, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return means(x, y, (row, column) => {
    const at = 4 * ((row - top) * width + column - left);
    return 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  });
}

/** @param {number[]} x @param {number[]} y @param {(row: number, column: number) => number} sample */
function means(x, y, sample) {
  const [columns, rows] = [x.length - 1, y.length - 1];
  const cells = new Float32Array(columns * rows);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const [right, bottom] = [Math.max(x[column + 1], x[column] + 1), Math.max(y[row + 1], y[row] + 1)];
      let sum = 0;
      for (let down = y[row]; down < bottom; down += 1) {
        for (let across = x[column]; across < right; across += 1) sum += sample(down, across);
      }
      cells[row * columns + column] = sum / ((right - x[column]) * (bottom - y[row]));
    }
  }
  return cells;
}
