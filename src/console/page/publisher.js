// A WHIP client (RFC 9725): publishes to a stream of this server, and connects
// again when the connection is lost.

import { words } from './dom.js';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
// ICE reports "disconnected" for a transient gap, too.
const GAP = 3000;
const PATIENCE = 10_000;
/** Bits a second of the video at most: a screen of text at 1080p takes 1 to 3 Mb/s. */
const MOST_BITS = 6_000_000;
const MOST_FRAMES = 15;
/** Codec unless another is wanted: every viewer plays it as it comes. Browsers offer VP8 first. */
const USUAL = 'H264';

/** Quality of what is sent. @typedef {{codec: string, width: number, height: number, frames: number, bits: number, lost: number, rtt: number, limited: string}} Quality */

/** Refusal of the server that another attempt does not change. */
class PublishRefused extends Error {}

export class Publisher extends EventTarget {
  /** @type {RTCPeerConnection | null} */ #connection = null;
  /** @type {string | null} */ #session = null;
  #stopped = false;
  #pause = FIRST_PAUSE;
  #timer = 0;
  #sent = { bytes: 0, at: 0 };
  #token;
  #isLive;

  /**
   * Events: "state", its detail { state: "connecting" | "live" | "waiting" |
   * "refused", why }.
   * @param {string} stream
   * @param {() => string} token
   * @param {MediaStream} media
   * @param {string | null} codec Preferred codec: VP8, VP9 or AV1 instead of H264.
   * @param {() => Promise<boolean>} isLive True while the stream has a publisher.
   */
  constructor(stream, token, media, codec, isLive) {
    super();
    this.#isLive = isLive;
    this.stream = stream;
    this.#token = token;
    this.codec = codec;
    this.picture = /** @type {MediaStreamTrack} */ (media.getVideoTracks()[0]);
    /** @type {MediaStreamTrack | undefined} */
    this.sound = media.getAudioTracks()[0];
    addEventListener('online', () => this.again('network changed'));
    this.#connect();
  }

  /** Sends another picture from now on. @param {MediaStreamTrack} picture */
  async show(picture) {
    this.picture = picture;
    const sender = this.#connection?.getSenders().find(({ track }) => track?.kind === 'video');
    await sender?.replaceTrack(picture);
  }

  stop() {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#hangUp();
  }

  async #connect() {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#connection = connection;
    this.#notify('connecting');
    connection.onconnectionstatechange = () => this.#changed(connection);
    const sent = new MediaStream();
    const video = connection.addTransceiver(this.picture, {
      direction: 'sendonly',
      streams: [sent],
      sendEncodings: [{ maxBitrate: MOST_BITS, maxFramerate: MOST_FRAMES }],
    });
    prefer(video, this.codec ?? USUAL);
    if (this.sound) connection.addTransceiver(this.sound, { direction: 'sendonly', streams: [sent] });
    try {
      await connection.setLocalDescription();
      // The client's candidates are not needed: the server accepts any source
      // (peer-reflexive).
      const answer = await this.#ask(connection.localDescription?.sdp ?? '');
      if (connection !== this.#connection) return;
      await connection.setRemoteDescription({ type: 'answer', sdp: answer });
      // A smaller picture can't be read; fewer pictures can.
      const parameters = video.sender.getParameters();
      /** @type {{degradationPreference?: string}} */ (parameters).degradationPreference = 'maintain-resolution';
      await video.sender.setParameters(parameters);
    } catch (error) {
      if (connection !== this.#connection) return;
      if (error instanceof PublishRefused) {
        this.#hangUp();
        this.#stopped = true;
        this.#notify('refused', words(error));
      } else this.again(words(error));
    }
  }

  /** @param {string} offer */
  async #ask(offer) {
    const response = await fetch(`/whip/${encodeURIComponent(this.stream)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', authorization: `Bearer ${this.#token()}` },
      body: offer,
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (response.status === 201) {
      this.#session = response.headers.get('location');
      if (this.#stopped) this.#hangUp();
      return response.text();
    }
    const problem = await response.json().catch(() => null);
    const why = problem?.detail ?? `server error (HTTP ${response.status})`;
    if ([401, 403, 404, 406, 410, 422].includes(response.status)) throw new PublishRefused(why);
    const wait = Number(response.headers.get('retry-after'));
    if (wait > 0) this.#pause = Math.max(this.#pause, wait * 1000);
    throw new Error(why);
  }

  /** @param {RTCPeerConnection} connection */
  #changed(connection) {
    if (connection !== this.#connection) return;
    clearTimeout(this.#timer);
    switch (connection.connectionState) {
      case 'connected':
        this.#pause = FIRST_PAUSE;
        this.#notify('live');
        break;
      case 'disconnected':
        this.#timer = window.setTimeout(() => this.again('connection lost'), GAP);
        break;
      case 'failed':
      case 'closed':
        this.again('connection lost');
        break;
    }
  }

  /** True while connected. */
  get isConnected() {
    return this.#connection?.connectionState === 'connected';
  }

  /** Connects again after a while. @param {string} why */
  async again(why) {
    if (this.#stopped) return;
    const known = this.#hangUp();
    this.#notify('waiting', why);
    const timer = window.setTimeout(() => this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#timer = timer;
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    // A session that the server has ended while the stream is live was taken
    // over: two publishers must not take the stream from each other for ever.
    if (await known !== false || !await this.#isLive() || this.#timer !== timer) return;
    this.stop();
    this.#notify('refused', 'Another publisher has taken over this stream.');
  }

  /** Ends the session; its promise: false if the server does not know it. */
  async #hangUp() {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
    const session = this.#session;
    this.#session = null;
    if (!session) return null;
    const response = await fetch(session, { method: 'DELETE', keepalive: true }).catch(() => null);
    return response && response.status !== 404;
  }

  /** @param {string} state @param {string} [why] */
  #notify(state, why = '') {
    this.dispatchEvent(new CustomEvent('state', { detail: { state, why } }));
  }

  /** @returns {Promise<Quality | null>} */
  async quality() {
    const reports = [...(await this.#connection?.getStats())?.values() ?? []];
    const sent = reports.find(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
    if (!sent) return null;
    const taken = reports.find(({ type, kind }) => type === 'remote-inbound-rtp' && kind === 'video');
    const last = this.#sent;
    this.#sent = { bytes: sent.bytesSent, at: sent.timestamp };
    const seconds = (sent.timestamp - last.at) / 1000;
    return {
      codec: String(reports.find(({ id }) => id === sent.codecId)?.mimeType ?? '').replace('video/', ''),
      width: sent.frameWidth ?? 0,
      height: sent.frameHeight ?? 0,
      frames: sent.framesPerSecond ?? 0,
      bits: sent.bytesSent >= last.bytes && seconds > 0 ? (sent.bytesSent - last.bytes) * 8 / seconds : 0,
      lost: taken?.fractionLost ?? 0,
      rtt: taken?.roundTripTime ?? 0,
      limited: sent.qualityLimitationReason ?? 'none',
    };
  }
}

/** Offers a codec before the others. @param {RTCRtpTransceiver} transceiver @param {string} codec */
function prefer(transceiver, codec) {
  const all = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const isIt = (/** @type {{mimeType: string}} */ { mimeType }) => mimeType.toLowerCase() === `video/${codec.toLowerCase()}`;
  if (all.some(isIt)) transceiver.setCodecPreferences([...all.filter(isIt), ...all.filter((one) => !isIt(one))]);
}
