package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/cloudtrail-connector/cloudtrail"
)

// store keeps the records and the token of a sync. What makes it safe to kill
// at any moment is the order: first the records of a page are on the disk, then
// the token that covers them.
type store struct {
	token   cloudtrail.SyncToken // that the state file holds; zero: there was none
	locks   []*flock.Flock       // of the files
	records int                  // that were written

	file  *os.File // of -out, or nil
	out   *bufio.Writer
	state string // file name, or ""
}

// openStore opens the files that the flags name. What the user should know goes
// to note.
func openStore(s settings, stdout io.Writer, note func(string)) (_ *store, err error) {
	st := &store{state: follow(s.state), out: bufio.NewWriterSize(stdout, 1<<16)}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	if err := st.keepOthersOut(s.out, note); err != nil {
		return nil, err
	}
	if st.state != "" {
		if st.token, err = readState(st.state); err != nil {
			return nil, err
		}
		if err := probe(st.state); err != nil {
			return nil, fmt.Errorf("-state: %w", err)
		}
		if !st.token.IsZero() && !s.options.Since.IsZero() {
			note(fmt.Sprintf("Going on from %s; -since would only count without it.", s.state))
		}
	}
	if s.out == "" {
		return st, nil
	}
	st.file, err = os.OpenFile(s.out, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("-out: %w: name a file in a folder that you may write to", err)
	}
	cut, err := cutTornLine(st.file)
	if err != nil {
		return nil, fmt.Errorf("-out: %s: %w", s.out, err)
	}
	if cut > 0 {
		note(fmt.Sprintf("%s ended in a torn line of %d bytes, left by a run that ended early; it was cut off.", s.out, cut))
	}
	st.out.Reset(st.file)
	syncDir(s.out)
	return st, nil
}

func (st *store) close() {
	if st.file != nil {
		st.file.Close()
	}
	for _, lock := range st.locks {
		lock.Close()
	}
}

// keepOthersOut locks the files against another run, such as one that a
// schedule starts while this one still reads: it would take the line that is
// being written for a torn one. The locks are gone with the process.
func (st *store) keepOthersOut(out string, note func(string)) error {
	for _, file := range [][2]string{{"-state", st.state}, {"-out", follow(out)}} {
		name := file[1]
		if info, err := os.Stat(name); name == "" || err == nil && !info.Mode().IsRegular() {
			continue
		}
		lock := flock.New(beside(name, ".lock"), flock.SetPermissions(0o600))
		locked, err := lock.TryLock()
		switch {
		case errors.Is(err, fs.ErrPermission):
			note("Its folder can't be written, so nothing keeps a second run off " + name + ".")
		case errors.Is(err, fs.ErrNotExist): // no such folder: whoever opens the file says so
		case err != nil:
			return fmt.Errorf("%s: %w", file[0], err)
		case !locked:
			return fmt.Errorf("%s: another run is writing %s: let it end first", file[0], name)
		default:
			st.locks = append(st.locks, lock)
		}
	}
	return nil
}

// page stores one page: records first, token second.
func (st *store) page(page cloudtrail.Page) error {
	if err := st.write(page.Records); err != nil {
		return fmt.Errorf("the records can't be written: %w", err)
	}
	st.records += len(page.Records)
	return st.save(page.Token())
}

func (st *store) write(records []cloudtrail.CloudResource) error {
	lines := json.NewEncoder(st.out)
	lines.SetEscapeHTML(false)
	for _, r := range records {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	if err := st.out.Flush(); err != nil || st.file == nil || st.state == "" {
		return err
	}
	return ignoreUnsyncable(st.file, st.file.Sync())
}

// save replaces the state file, if there is one, in one step.
func (st *store) save(token cloudtrail.SyncToken) error {
	if st.state == "" || token == st.token {
		return nil
	}
	if err := replaceFile(st.state, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, token)
		return err
	}); err != nil {
		return fmt.Errorf("the state can't be saved: %w", err)
	}
	st.token = token
	return nil
}

// readState returns the token in a state file; none if there is no file.
func readState(name string) (cloudtrail.SyncToken, error) {
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cloudtrail.SyncToken{}, nil
	case err != nil:
		return cloudtrail.SyncToken{}, fmt.Errorf("-state: %w: name a file that you may read and write", err)
	}
	// An empty file isn't "never": reading everything again unasked would hide
	// that something emptied it.
	token, err := cloudtrail.ParseSyncToken(string(bytes.TrimSpace(text)))
	if err == nil && token.IsZero() {
		err = fmt.Errorf("%w: the file is empty", cloudtrail.ErrInvalidToken)
	}
	if err != nil {
		return token, fmt.Errorf("-state: %s: %w: restore it from a copy, or remove it to read the whole lookback window again", name, err)
	}
	return token, nil
}

// follow returns the file that a link of this name leads to.
func follow(name string) string {
	if file, err := filepath.EvalSymlinks(name); name != "" && err == nil {
		return file
	}
	file, err := os.Readlink(name) // to a file that isn't there yet
	switch {
	case err != nil:
		return name
	case filepath.IsAbs(file):
		return file
	}
	return filepath.Join(filepath.Dir(name), file)
}

// beside returns the name of a hidden file of the program's own.
func beside(name, extension string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+extension)
}

// openBeside opens an empty file of the program's own.
func openBeside(name string) (*os.File, error) {
	return os.OpenFile(beside(name, ".tmp"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// replaceFile writes a file beside name and then puts it in name's place, so
// that name is always whole.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := openBeside(name)
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// probe finds out whether replaceFile will work, before hours of reading.
func probe(name string) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: name another", name)
	}
	f, err := openBeside(name)
	if err != nil {
		return fmt.Errorf("%w: name a file in a folder that you may write to", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// cutTornLine cuts off a torn line after the last line feed, which a killed run
// may leave: that page isn't in the state yet and will be written again. It
// returns how much that was. A record that lacks only the line feed gets one:
// an editor may have taken it, and then nobody would write that record again.
func cutTornLine(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, err // a pipe or a device
	}
	end, size := info.Size(), info.Size()
	first, buf := byte('{'), make([]byte, 1<<16)
	for end > 0 {
		chunk := buf[:min(end, int64(len(buf)))]
		if _, err := f.ReadAt(chunk, end-int64(len(chunk))); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			end -= int64(len(chunk) - i - 1)
			if i+1 < len(chunk) {
				first = chunk[i+1]
			}
			break
		}
		end -= int64(len(chunk))
		first = chunk[0]
	}
	if end == size {
		return 0, nil
	}
	// A crash of the whole machine may leave zeros. Anything else isn't ours.
	if first != '{' && first != 0 {
		return 0, errors.New("its last line is neither whole nor one of this program's: name another file")
	}
	tail := make([]byte, size-end)
	if _, err := f.ReadAt(tail, end); err != nil {
		return 0, err
	}
	if json.Valid(tail) {
		_, err := f.Write([]byte{'\n'}) // appends
		return 0, err
	}
	return size - end, f.Truncate(end)
}

// ignoreUnsyncable drops the error of a Sync that means nothing: that of a pipe
// or a device.
func ignoreUnsyncable(f *os.File, err error) error {
	if info, statErr := f.Stat(); statErr == nil && !info.Mode().IsRegular() {
		return nil
	}
	return err
}

// syncDir makes sure that a new file's name is on the disk too. Where folders
// can't be synced there is nothing to be done.
func syncDir(name string) {
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
}
