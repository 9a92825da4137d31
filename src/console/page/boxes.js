// Boxes of the last findings' evidence, over the live picture.

import { serverNow } from './api.js';
import { el, place } from './dom.js';

/** @import {Finding} from './types' */

const SHOWN_FOR = 12_000;
/** Maximum age of a shown finding in ms: older evidence is most likely off the screen. */
const FRESH = 60_000;
/** Maximum boxes at once. */
const MOST = 24;

export class Boxes {
  #layer;
  #video;
  #stream = '';

  /** @param {HTMLElement} layer @param {HTMLVideoElement} video */
  constructor(layer, video) {
    this.#layer = layer;
    this.#video = video;
    video.addEventListener('resize', () => this.#fit());
    new ResizeObserver(() => this.#fit()).observe(video);
  }

  /** Sets the stream that is played. @param {string} name */
  set stream(name) {
    if (name !== this.#stream) this.#layer.replaceChildren();
    this.#stream = name;
  }

  /** @param {Finding} finding */
  show(finding) {
    if (finding.stream !== this.#stream || serverNow() - Date.parse(finding.observed_at) > FRESH) return;
    const shown = finding.evidence.filter(({ box, grounded }) => box && grounded !== false);
    for (const [nth, { box }] of shown.entries()) {
      if (!box) continue;
      // The title is shown on the first box only.
      const made = el('span', { class: 'box', 'data-severity': finding.severity }, nth === 0 && el('b', { dir: 'auto' }, finding.title));
      place(made, box);
      this.#layer.append(made);
      while (this.#layer.childElementCount > MOST) this.#layer.firstElementChild?.remove();
      setTimeout(() => made.remove(), SHOWN_FOR);
    }
  }

  /** Aligns the layer with the picture, which may have letterbox bars. */
  #fit() {
    const { videoWidth, videoHeight, clientWidth, clientHeight } = this.#video;
    if (!videoWidth || !clientWidth) return;
    const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight);
    const [width, height] = [videoWidth * scale, videoHeight * scale];
    Object.assign(this.#layer.style, {
      left: `${(clientWidth - width) / 2}px`, top: `${(clientHeight - height) / 2}px`, width: `${width}px`, height: `${height}px`,
    });
  }
}
