// What is shared: the screen, with its sound and the microphone, and the card
// that is sent instead while paused.

/** Pictures a second: text is read, not watched. */
const RATE = { ideal: 10, max: 15 };
/** Interval in ms at which the card is drawn again, so that viewers who join get it. */
const REDRAW = 500;

/** Reason that this browser can't share a screen; empty if it can. */
export function obstacle() {
  if (!isSecureContext) {
    return 'Browsers share a screen only on a page with HTTPS, or on the server itself. Open this page with https://, or ask the operator to set up TLS.';
  }
  if (!navigator.mediaDevices?.getDisplayMedia || !window.RTCPeerConnection) {
    return 'This browser can’t share a screen; browsers on phones and tablets can’t. Open the link on a computer.';
  }
  return '';
}

/**
 * Lets the user choose what to share.
 * @param {{sound: boolean, microphone: boolean}} wanted
 * @returns {Promise<MediaStream>} One video track, and at most one of sound.
 */
export async function chosen({ sound, microphone }) {
  const options = {
    video: { frameRate: RATE },
    audio: sound && { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    // This tab may be shared too, as for a trial.
    selfBrowserSurface: 'include',
    surfaceSwitching: 'include',
    systemAudio: sound ? 'include' : 'exclude',
    ...new URLSearchParams(location.search).get('tab') === 'this' && { preferCurrentTab: true },
  };
  const screen = await navigator.mediaDevices.getDisplayMedia(options);
  const [picture] = screen.getVideoTracks();
  // Sharp text matters more than smooth motion.
  picture.contentHint = 'detail';
  const voice = microphone ? await navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => null) : null;
  return new MediaStream([picture, ...mixed([...screen.getAudioTracks(), ...voice?.getAudioTracks() ?? []])]);
}

/** Sound of several tracks as one. @param {MediaStreamTrack[]} tracks */
function mixed(tracks) {
  if (tracks.length < 2) return tracks;
  const context = new AudioContext();
  const mix = context.createMediaStreamDestination();
  for (const track of tracks) context.createMediaStreamSource(new MediaStream([track])).connect(mix);
  const [one] = mix.stream.getAudioTracks();
  // The mix ends with its sources, so that the microphone is released.
  const stop = one.stop.bind(one);
  one.stop = () => {
    tracks.forEach((track) => track.stop());
    context.close();
    stop();
  };
  return [one];
}

/** Card that says the stream is paused, as a track. It is of another size than the screen, so that encoders begin anew: nothing of the screen is left in it. */
export class Card {
  #canvas = document.createElement('canvas');
  #timer = 0;
  #drawn = 0;
  /** @type {MediaStreamTrack} */ track;

  /** @param {MediaTrackSettings} screen */
  constructor({ width = 0 }) {
    [this.#canvas.width, this.#canvas.height] = width === 1280 ? [960, 540] : [1280, 720];
    this.#draw();
    [this.track] = this.#canvas.captureStream(5).getVideoTracks();
    this.#timer = window.setInterval(() => this.#draw(), REDRAW);
  }

  stop() {
    clearInterval(this.#timer);
    this.track.stop();
  }

  #draw() {
    const { width, height } = this.#canvas;
    const brush = this.#canvas.getContext('2d');
    if (!brush) return;
    brush.fillStyle = '#0b1017';
    brush.fillRect(0, 0, width, height);
    brush.fillStyle = '#e8eef5';
    brush.textAlign = 'center';
    brush.font = `600 ${height / 12}px system-ui, sans-serif`;
    brush.fillText('Paused by the person who shares', width / 2, height / 2);
    // A picture that never changes is not sent again.
    this.#drawn += 1;
    brush.fillStyle = this.#drawn % 2 ? '#5fd4c8' : '#2c6f69';
    brush.fillRect(width / 2 - height / 40, height * 0.62, height / 20, height / 60);
  }
}
