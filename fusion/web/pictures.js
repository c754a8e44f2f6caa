// Pictures: files -> pixels -> luminance, and a fused luminance -> pixels, as fusion/images.py does it.
"use strict";

const MOST_PIXELS = 13e6; // the network's features of more do not fit into a browser's memory

class Refused extends Error {} // its message is one line for people

// A file's picture {name, width, height, data: RGBA bytes, note}, upright.
async function readPicture(file) {
  const address = URL.createObjectURL(file);
  try {
    const { naturalWidth: width, naturalHeight: height } = await shown(address, file.name);
    if (width * height > MOST_PIXELS) {
      throw new Refused(`${file.name} is ${width}x${height}: more than ${MOST_PIXELS / 1e6} megapixels are too many ` +
        "for a browser; use the Python programs");
    }
    const bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    const pixels = surface(bitmap.width, bitmap.height);
    pixels.drawImage(bitmap, 0, 0);
    bitmap.close();
    const { data } = pixels.getImageData(0, 0, width, height);
    return { name: file.name, width, height, data, note: await noteOn(file, data) };
  } finally {
    URL.revokeObjectURL(address);
  }
}

function shown(address, name) {
  return new Promise((found, failed) => {
    const image = new Image();
    image.onload = () => found(image);
    image.onerror = () => failed(new Refused(
      `${name} is no picture that a browser reads: expected a whole PNG, JPEG, WebP, AVIF, BMP or GIF file`));
    image.src = address;
  });
}

function surface(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return canvas.getContext("2d", { willReadFrequently: true });
}

// What a person should know of a picture before believing its result; "" where there is nothing.
async function noteOn(file, data) {
  const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  const png = head[0] === 0x89 && head[1] === 0x50;
  let low = 255, high = 0;
  for (let i = 0; i < data.length; i += 4) {
    low = Math.min(low, data[i], data[i + 1], data[i + 2]);
    high = Math.max(high, data[i], data[i + 1], data[i + 2]);
  }
  if (high - low < 32) {
    return `${file.name} uses ${high - low + 1} of 256 levels: raw thermal counts, perhaps? Stretch it first`;
  }
  return png && head[24] === 16 ? `${file.name} has 16 bits, of which a browser reads the upper 8` : "";
}

// (H, W) float32 in [0, 1].
function luminance({ width, height, data }) {
  const plane = new Float32Array(width * height);
  for (let i = 0, j = 0; i < plane.length; i++, j += 4) {
    plane[i] = (0.299 * data[j] + 0.587 * data[j + 1] + 0.114 * data[j + 2]) / 255;
  }
  return plane;
}

// The fused luminance in the colours of `source`: Y of YCrCb replaced, with OpenCV's rounded constants.
function recoloured(fused, { width, height, data }) {
  const result = new ImageData(width, height);
  const out = result.data; // rounds and clips by itself
  for (let i = 0, j = 0; i < fused.length; i++, j += 4) {
    const [r, g, b] = [data[j], data[j + 1], data[j + 2]];
    const y = 255 * Math.min(1, Math.max(0, fused[i]));
    out[j + 3] = 255;
    if (r === g && g === b) {
      out[j] = out[j + 1] = out[j + 2] = y;
      continue;
    }
    const before = 0.299 * r + 0.587 * g + 0.114 * b;
    const cr = 0.713 * (r - before), cb = 0.564 * (b - before);
    out[j] = y + 1.403 * cr;
    out[j + 1] = y - 0.714 * cr - 0.344 * cb;
    out[j + 2] = y + 1.773 * cb;
  }
  return result;
}
