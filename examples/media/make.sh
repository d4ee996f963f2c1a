#!/usr/bin/env bash
# Makes the example inputs: examples/media/make.sh [DIR]
#
# A spoken film, three scenes with a voice for each, music, and videos that are wide, tall and
# silent; pictures by ffmpeg, voices by flite. The same call makes the same bytes, as long as the
# tools are the same. SIZE=1280x720 and TIMES=4 make them larger and longer.
set -euo pipefail

dir=${1:-examples/media/made}
size=${SIZE:-640x360}
times=${TIMES:-1}
tall=${size#*x}x${size%x*}

for tool in ffmpeg flite; do
  command -v "$tool" >/dev/null || {
    echo "error: there is no program \`$tool\`; on Debian and Ubuntu: apt-get install $tool" >&2
    exit 1
  }
done
mkdir -p "$dir"
cd "$dir"

# One thread and no dates, so that the bytes are the same each time.
encode() {
  ffmpeg -nostdin -v error -y -threads 1 "$@"
}
quick=(-c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 1 -flags:v +bitexact)
plain=(-map_metadata -1 -fflags +bitexact -flags:a +bitexact)

say() { # FILE TEXT
  flite -voice slt -t "$2" -o "$1"
}

# --- a film in which somebody speaks ---------------------------------------------------------------
say first.wav 'once upon a time there was a young man'
say second.wav 'he worked every day and he never asked for money'
encode -i first.wav -i second.wav -filter_complex \
  '[0]adelay=400,apad=pad_dur=0.8[a];[1]apad=pad_dur=0.6[b];[a][b]concat=n=2:v=0:a=1' \
  "${plain[@]}" speech.wav
encode -f lavfi -i "testsrc2=size=$size:rate=25" -stream_loop $((times - 1)) -i speech.wav \
  -shortest "${quick[@]}" -c:a aac "${plain[@]}" talk.mp4
rm first.wav second.wav speech.wav

# --- scenes, and a voice for each ------------------------------------------------------------------
texts=('this is the first scene' 'here comes the second one' 'and this is the end')
for n in 1 2 3; do
  say "voice-$n.wav" "${texts[n - 1]}"
  seconds=$((times * (n + 1)))
  encode -f lavfi -i "testsrc2=size=$size:rate=25:duration=$seconds,hue=h=$((n * 90))" \
    -f lavfi -i "sine=frequency=$((n * 110)):duration=$seconds,volume=0.2" \
    "${quick[@]}" -c:a aac "${plain[@]}" "scene-$n.mp4"
done

# --- music, and videos without a voice -------------------------------------------------------------
encode -f lavfi -i "aevalsrc='0.2*sin(262*2*PI*t)+0.2*sin(330*2*PI*t)+0.2*sin(392*2*PI*t)':d=3" \
  -af 'tremolo=f=2:d=0.7' -c:a libmp3lame -b:a 128k "${plain[@]}" music.mp3
encode -f lavfi -i "testsrc2=size=$size:rate=30:duration=$((times * 3))" \
  -f lavfi -i "sine=frequency=330:duration=$((times * 3)),volume=0.3" \
  "${quick[@]}" -c:a aac "${plain[@]}" landscape.mp4
encode -f lavfi -i "smptebars=size=$tall:rate=25:duration=$((times * 3))" \
  -f lavfi -i "sine=frequency=220:duration=$((times * 3)),volume=0.3" \
  "${quick[@]}" -c:a aac "${plain[@]}" portrait.mp4
encode -f lavfi -i "mandelbrot=size=$size:rate=25,trim=duration=$((times * 2))" \
  "${quick[@]}" "${plain[@]}" silent.mp4

# --- a list of jobs for `batch` ---------------------------------------------------------------------
cat > batch.json <<END
{ "items": [
  { "id": "cover", "workflow": "thumbnail", "input": { "video": "$PWD/talk.mp4", "at": 1 } },
  { "id": "other", "workflow": "convert", "input": { "video": "$PWD/landscape.mp4", "format": "mkv" } },
  { "id": "music", "workflow": "background-music",
    "input": { "video": "$PWD/portrait.mp4", "music": "$PWD/music.mp3" } }
] }
END
