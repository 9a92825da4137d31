// Tiles of live streams: one, or several in a grid, of which one is chosen. The
// chosen one is heard, and keys zoom it.
//
// A tile that is not seen has no connection, so that it costs nothing.

import { Boxes } from './boxes.js';
import { at, el, fill } from './dom.js';
import { Player } from './whep.js';
import { Zoom } from './zoom.js';

/** @import {Finding, Stream} from './types' */

const KEPT = 'watchtower.layout';
/** Streams at once. @type {[count: number, name: string][]} */
const LAYOUTS = [[1, '1 stream'], [4, '2 × 2'], [9, '3 × 3']];
/** Time in ms that a tile stays connected out of sight: back soon, it plays at once. */
const LINGER = 8000;

class Tile {
  stream = '';
  /** Seen on the screen, as far as scrolling goes. */
  seen = true;
  zoomed = false;
  #away = 0;
  #playing = { state: '', why: '' };
  #name = el('button', { type: 'button', class: 'tile-name' });
  #card = el('p', { class: 'paused-card', hidden: true }, 'Paused by the person who shares');

  /** @param {HTMLElement} root @param {(tile: Tile) => void} chosen @param {() => void} changed */
  constructor(root, chosen, changed) {
    this.root = root;
    this.lens = /** @type {HTMLElement} */ (root.querySelector('.lens'));
    const content = /** @type {HTMLElement} */ (root.querySelector('.lens-content'));
    this.video = /** @type {HTMLVideoElement} */ (root.querySelector('video'));
    this.boxes = new Boxes(/** @type {HTMLElement} */ (root.querySelector('.boxes')), this.video);
    this.player = new Player(this.video);
    this.zoom = new Zoom(this.lens, content, (scale) => {
      this.zoomed = scale > 1;
      // A transform, and a clip, cost the page something for every picture.
      if (!this.zoomed) content.style.transform = '';
      root.classList.toggle('zoomed', this.zoomed);
      changed();
    });
    root.append(this.#card, this.#name);
    this.#name.addEventListener('click', () => chosen(this));
    this.lens.addEventListener('click', () => chosen(this));
    // Two fingers zoom; one scrolls the page, while all of the picture is seen.
    this.lens.addEventListener('touchstart', (event) => {
      if (event.touches.length > 1) event.preventDefault();
    }, { passive: false });
    this.player.addEventListener('state', (event) => {
      this.#playing = /** @type {CustomEvent} */ (event).detail;
      changed();
    });
  }

  get playing() {
    return this.#playing;
  }

  /** @param {Stream | undefined} stream @param {boolean} chosen */
  show(stream, chosen) {
    const name = stream?.name ?? '';
    if (name !== this.stream) this.zoom.fit();
    this.stream = name;
    this.root.hidden = !name;
    this.root.dataset.stream = name;
    this.root.classList.toggle('chosen', chosen);
    const lost = stream?.state === 'signal_lost';
    // Nothing is boxed on the card that says so.
    // At once, whatever picture is still on its way.
    const paused = stream?.state === 'paused';
    this.#card.hidden = !paused;
    this.boxes.stream = lost || paused ? '' : name;
    this.#name.setAttribute('aria-pressed', String(chosen));
    const text = lost ? `${name}: signal lost` : paused ? `${name}: paused` : name;
    if (this.#name.textContent !== text) fill(this.#name, text);
  }

  /** Connects while it is wanted, and for a moment after. @param {boolean} wanted */
  play(wanted) {
    if (wanted && this.stream) {
      clearTimeout(this.#away);
      this.#away = 0;
      this.player.play(this.stream);
    } else if (!this.stream) this.player.play(null);
    else if (!this.#away) {
      this.#away = window.setTimeout(() => {
        this.#away = 0;
        this.player.play(null);
      }, LINGER);
    }
  }
}

export class Tiles {
  #root = at('tiles');
  #layout = /** @type {HTMLSelectElement} */ (at('layout'));
  /** @type {Tile[]} */ #tiles = [];
  /** @type {Stream[]} */ #streams = [];
  #chosen = '';
  #isShown = true;
  #page = 0;
  #audible = false;
  #choose;
  #changed;
  #sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const tile = this.#tiles.find(({ root }) => root === target);
      if (tile) tile.seen = isIntersecting;
    }
    this.#play();
  });

  /** @param {(stream: string) => void} choose Called when a tile is chosen. @param {() => void} changed Called when what plays has changed. */
  constructor(choose, changed) {
    this.#choose = choose;
    this.#changed = changed;
    const kept = localStorage.getItem(KEPT);
    fill(this.#layout, ...LAYOUTS.map(([count, name]) => new Option(name, String(count), false, String(count) === kept)));
    this.#layout.addEventListener('change', () => {
      localStorage.setItem(KEPT, this.#layout.value);
      this.#arrange();
    });
    at('tiles-before').addEventListener('click', () => this.#turn(-1));
    at('tiles-after').addEventListener('click', () => this.#turn(1));
    document.addEventListener('visibilitychange', () => this.#play());
    this.#add(at('screen'));
    at('sound').addEventListener('click', () => {
      this.#audible = !this.#audible;
      if (this.#audible && this.#volume === 0) /** @type {HTMLInputElement} */ (at('volume')).value = '1';
      this.#sound();
    });
    at('volume').addEventListener('input', () => {
      this.#audible = this.#volume > 0;
      this.#sound();
    });
    at('full').addEventListener('click', () => this.full());
    at('zoom-in').addEventListener('click', () => this.#main.zoom.in());
    at('zoom-out').addEventListener('click', () => this.#main.zoom.out());
    at('zoom-fit').addEventListener('click', () => this.#main.zoom.fit());
    at('pip').hidden = !document.pictureInPictureEnabled;
    at('pip').addEventListener('click', () => this.#float());
  }

  /** Streams that are live, and the chosen one. @param {Stream[]} streams @param {string} chosen */
  show(streams, chosen) {
    this.#streams = streams;
    const another = chosen !== this.#chosen;
    this.#chosen = chosen;
    // The chosen one is seen, unless its page was left for another.
    if (another) this.#page = Math.floor(Math.max(0, this.#place) / this.#count);
    this.#arrange();
  }

  /** The view is shown, or left. @param {boolean} shown */
  seen(shown) {
    this.#isShown = shown;
    this.#play();
  }

  /** Streams on the screen now. */
  get names() {
    return this.#tiles.map(({ stream }) => stream).filter(Boolean);
  }

  /** State of the chosen one. */
  get playing() {
    return this.#main.playing;
  }

  /** @param {Finding} finding */
  box(finding) {
    for (const tile of this.#tiles) if (tile.stream === finding.stream) tile.boxes.show(finding);
  }

  /** @param {KeyboardEvent} event @returns {boolean} True if it was a key of the video. */
  key(event) {
    if (event.key === 'f') this.full();
    else if (event.key === 'm') at('sound').click();
    else if (event.key === 'g') this.#grid();
    else if (event.key === 'p' && !at('pip').hidden) this.#float();
    // Without zoom, arrows scroll.
    else if (event.key.startsWith('Arrow') && !this.#main.zoomed) return false;
    else return this.#main.zoom.key(event);
    return true;
  }

  full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#root.requestFullscreen().catch(() => {});
  }

  get #main() {
    return this.#tiles.find(({ stream }) => stream === this.#chosen) ?? this.#tiles[0];
  }

  get #volume() {
    return Number(/** @type {HTMLInputElement} */ (at('volume')).value);
  }

  get #place() {
    return this.#streams.findIndex(({ name }) => name === this.#chosen);
  }

  /** Streams on a page. */
  get #count() {
    return Number(this.#layout.value) || 1;
  }

  /** One stream, or all that fit. */
  #grid() {
    const wanted = this.#count > 1 ? 1 : this.#streams.length > 4 ? 9 : 4;
    this.#layout.value = String(wanted);
    this.#layout.dispatchEvent(new Event('change'));
  }

  /** @param {number} pages */
  #turn(pages) {
    this.#page += pages;
    this.#arrange();
  }

  async #float() {
    if (document.pictureInPictureElement) await document.exitPictureInPicture().catch(() => {});
    else {
      const { video } = this.#main;
      // Played by the user: what autoplays without sound, the browser pauses
      // once its view is left.
      video.play().catch(() => {});
      await video.requestPictureInPicture().catch(() => {});
    }
    this.#play();
  }

  /** @param {HTMLElement} root */
  #add(root) {
    const tile = new Tile(root, ({ stream }) => stream !== this.#chosen && this.#choose(stream), () => this.#state());
    tile.video.addEventListener('leavepictureinpicture', () => this.#play());
    this.#tiles.push(tile);
    this.#sight.observe(root);
  }

  /** Gives each tile its stream. */
  #arrange() {
    const count = this.#count;
    const last = Math.max(0, Math.ceil(this.#streams.length / count) - 1);
    this.#page = Math.min(Math.max(0, count === 1 ? this.#place : this.#page), last);
    const streams = this.#streams.slice(this.#page * count, (this.#page + 1) * count);
    while (this.#tiles.length < streams.length) {
      const root = el('div', { class: 'tile picture' }, el('div', { class: 'lens' }, el('div', { class: 'lens-content' },
        el('video', { autoplay: true, playsInline: true, muted: true }), el('div', { class: 'boxes', 'aria-hidden': 'true' }))));
      this.#root.append(root);
      this.#add(root);
    }
    for (const [nth, tile] of this.#tiles.entries()) {
      const stream = streams[nth];
      tile.show(stream, stream?.name === this.#chosen);
      tile.video.setAttribute('aria-label', stream && streams.length > 1 ? `Shared screen of ${stream.name}` : 'Shared screen');
    }
    const columns = Math.max(1, Math.ceil(Math.sqrt(streams.length)));
    const rows = Math.max(1, Math.ceil(streams.length / columns));
    this.#root.style.setProperty('--columns', String(columns));
    this.#root.style.setProperty('--rows', String(rows));
    this.#root.classList.toggle('several', streams.length > 1);
    at('layouts').hidden = this.#streams.length < 2;
    at('pages').hidden = count === 1 || last === 0;
    at('tiles-shown').textContent = `${this.#page * count + 1}–${this.#page * count + streams.length} of ${this.#streams.length}`;
    /** @type {HTMLButtonElement} */ (at('tiles-before')).disabled = this.#page === 0;
    /** @type {HTMLButtonElement} */ (at('tiles-after')).disabled = this.#page >= last;
    this.#play();
    this.#sound();
    this.#state();
  }

  /** Connects the tiles that are seen. */
  #play() {
    for (const tile of this.#tiles) {
      const chosen = tile === this.#main;
      const floats = document.pictureInPictureElement === tile.video;
      // What is heard goes on, and the chosen one is not cut off by scrolling.
      const heard = chosen && this.#audible;
      const seen = this.#isShown && !document.hidden && (tile.seen || chosen);
      tile.play(Boolean(tile.stream) && (seen || floats || heard));
    }
  }

  #sound() {
    for (const tile of this.#tiles) {
      tile.video.volume = this.#volume;
      tile.video.muted = !(this.#audible && tile === this.#main);
    }
    const name = this.#audible ? 'Mute' : 'Unmute';
    at('sound').querySelector('use')?.setAttribute('href', this.#audible ? '#i-sound' : '#i-muted');
    const label = at('sound').querySelector('span');
    if (label) label.textContent = name;
    this.#play();
  }

  #state() {
    // Called while the first tile is made, too.
    if (this.#tiles.length === 0) return;
    const { zoomed } = this.#main;
    for (const id of ['zoom-out', 'zoom-fit']) /** @type {HTMLButtonElement} */ (at(id)).disabled = !zoomed;
    this.#changed();
  }
}
