// A WHEP client (draft-ietf-wish-whep): plays a stream of this server, and
// reconnects automatically.

import { words } from './dom.js';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
// ICE reports "disconnected" for a transient gap, too.
const GAP = 5_000;
// A connected peer that receives nothing, or nothing decodable, is a stall. The
// server sends sender reports every 2.5 s even for a still screen.
const STALL = 8_000;
const LOOK = 2_000;
const PATIENCE = 10_000;

export class Player extends EventTarget {
  #video;
  /** @type {string | null} */ #stream = null;
  /** @type {RTCPeerConnection | null} */ #connection = null;
  /** @type {string | null} */ #session = null;
  #note = '';
  #pause = FIRST_PAUSE;
  #timer = 0;
  #looking = 0;

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
    this.#notify('connecting');
    const media = new MediaStream();
    connection.ontrack = ({ track }) => {
      media.addTrack(track);
      this.#video.srcObject = media;
    };
    connection.onconnectionstatechange = () => this.#changed(connection);
    for (const kind of ['video', 'audio']) connection.addTransceiver(kind, { direction: 'recvonly' });
    try {
      await connection.setLocalDescription();
      // The client's candidates are not needed: the server accepts any source
      // (peer-reflexive).
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
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (response.status === 201) {
      this.#session = response.headers.get('location');
      const behind = response.headers.get('x-watchtower-behind');
      this.#note = behind ? `${behind} s delay until next keyframe` : '';
      return response.text();
    }
    const wait = Number(response.headers.get('retry-after'));
    if (wait > 0) this.#pause = Math.max(this.#pause, wait * 1000);
    const problem = await response.json().catch(() => null);
    throw new Error(problem?.detail ?? `server error (HTTP ${response.status})`);
  }

  /** @param {RTCPeerConnection} connection */
  #changed(connection) {
    if (connection !== this.#connection) return;
    clearTimeout(this.#timer);
    switch (connection.connectionState) {
      case 'connected':
        this.#notify('live', this.#note);
        this.#look(connection);
        break;
      case 'disconnected':
        this.#timer = window.setTimeout(() => this.#again('connection lost'), GAP);
        break;
      case 'failed':
      case 'closed':
        this.#again('connection lost');
        break;
    }
  }

  /**
   * Reconnects when the connection stalls; the backoff is reset after a while
   * without a stall.
   * @param {RTCPeerConnection} connection
   */
  #look(connection) {
    clearInterval(this.#looking);
    const began = performance.now();
    let last = { bytes: 0, video: 0, frames: 0 };
    // Start of a time without data, and of a time without decoded frames.
    let silent = began;
    let blind = began;
    this.#looking = window.setInterval(async () => {
      const seen = await received(connection);
      if (connection !== this.#connection) return;
      const now = performance.now();
      if (seen.bytes !== last.bytes) silent = now;
      // Browsers may stop decoding on a hidden page.
      const waits = seen.video > last.video && seen.frames === last.frames && !document.hidden;
      if (!waits) {
        blind = now;
        last = seen;
      }
      last.bytes = seen.bytes;
      if (now - silent >= STALL) this.#again('no data received');
      else if (now - blind >= STALL) this.#again('video stalled');
      else if (now - began >= 2 * STALL) this.#pause = FIRST_PAUSE;
    }, LOOK);
  }

  /** @param {string} why */
  #again(why) {
    this.#hangUp();
    this.#notify('waiting', why);
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
    clearInterval(this.#looking);
    this.#connection?.close();
    this.#connection = null;
    if (this.#session) fetch(this.#session, { method: 'DELETE', keepalive: true }).catch(() => {});
    this.#session = null;
  }

  /** @param {string} state @param {string} [why] */
  #notify(state, why = '') {
    this.dispatchEvent(new CustomEvent('state', { detail: { state, why } }));
  }
}

/**
 * Received bytes, in total and of the video, and decoded frames.
 * @param {RTCPeerConnection} connection
 */
async function received(connection) {
  const seen = { bytes: 0, video: 0, frames: 0 };
  for (const report of (await connection.getStats()).values()) {
    // Sender reports (RTCP) count as activity, too.
    if (report.type === 'remote-outbound-rtp') seen.bytes += report.reportsSent ?? 0;
    if (report.type !== 'inbound-rtp') continue;
    seen.bytes += report.bytesReceived ?? 0;
    if (report.kind !== 'video') continue;
    seen.video += report.bytesReceived ?? 0;
    seen.frames += report.framesDecoded ?? 0;
  }
  return seen;
}
