// A WHEP client (draft-ietf-wish-whep): plays a stream of the server that
// served this page, and comes back by itself whenever it was cut off.

import { words } from './dom.js';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
// ICE says "disconnected" for a passing gap, too.
const GAP = 5_000;

export class Player extends EventTarget {
  #video;
  /** @type {string | null} */ #stream = null;
  /** @type {RTCPeerConnection | null} */ #connection = null;
  /** @type {string | null} */ #session = null;
  #note = '';
  #pause = FIRST_PAUSE;
  #timer = 0;

  /**
   * Events: "state", its detail { state: "connecting" | "live" | "waiting",
   * why }.
   * @param {HTMLVideoElement} video
   */
  constructor(video) {
    super();
    this.#video = video;
    addEventListener('pagehide', () => this.#leave());
  }

  /** @param {string | null} stream */
  play(stream) {
    if (stream === this.#stream) return;
    this.#leave();
    this.#stream = stream;
    this.#pause = FIRST_PAUSE;
    if (stream) this.#connect();
  }

  async #connect() {
    const connection = new RTCPeerConnection();
    this.#connection = connection;
    this.#tell('connecting');
    const media = new MediaStream();
    connection.ontrack = ({ track }) => {
      media.addTrack(track);
      this.#video.srcObject = media;
    };
    connection.onconnectionstatechange = () => this.#changed(connection);
    for (const kind of ['video', 'audio']) connection.addTransceiver(kind, { direction: 'recvonly' });
    try {
      await connection.setLocalDescription();
      // Our candidates don't matter: the server answers whoever calls.
      const answer = await this.#ask(connection.localDescription?.sdp ?? '');
      if (connection !== this.#connection) return;
      await connection.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch (error) {
      if (connection === this.#connection) this.#again(words(error));
    }
  }

  /** @param {string} offer */
  async #ask(offer) {
    const response = await fetch(`/whep/${encodeURIComponent(this.#stream ?? '')}`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp' },
      body: offer,
    });
    if (response.status === 201) {
      this.#session = response.headers.get('location');
      const behind = response.headers.get('x-watchtower-behind');
      this.#note = behind ? `the picture is ${behind} s old until the next keyframe` : '';
      return response.text();
    }
    const wait = Number(response.headers.get('retry-after'));
    if (wait > 0) this.#pause = Math.max(this.#pause, wait * 1000);
    const problem = await response.json().catch(() => null);
    throw new Error(problem?.detail ?? `the server answered ${response.status}`);
  }

  /** @param {RTCPeerConnection} connection */
  #changed(connection) {
    if (connection !== this.#connection) return;
    clearTimeout(this.#timer);
    switch (connection.connectionState) {
      case 'connected':
        this.#pause = FIRST_PAUSE;
        this.#tell('live', this.#note);
        break;
      case 'disconnected':
        this.#timer = window.setTimeout(() => this.#again('the connection was lost'), GAP);
        break;
      case 'failed':
      case 'closed':
        this.#again('the connection was lost');
        break;
    }
  }

  /** @param {string} why */
  #again(why) {
    this.#hangUp();
    this.#tell('waiting', why);
    this.#timer = window.setTimeout(() => this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  #leave() {
    this.#hangUp();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  #hangUp() {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
    if (this.#session) fetch(this.#session, { method: 'DELETE', keepalive: true }).catch(() => {});
    this.#session = null;
  }

  /** @param {string} state @param {string} [why] */
  #tell(state, why = '') {
    this.dispatchEvent(new CustomEvent('state', { detail: { state, why } }));
  }
}
