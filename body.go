package cloudtrail

import (
	"bytes"
	"net/http"
	"sync"

	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
)

// bodyGuard stands between the SDK and the connection.
//
// It turns a success without a page into an error: without a body, or with an
// error for one. The SDK decodes that to an empty success without NextToken, which
// would silently end the paging.
//
// It renames an error's "message" to "Message". The SDK looks for the latter in
// the errors that it has types for, and the text is all that tells a service
// control policy from any other denial.
//
// Unless raw is set it empties every CloudTrailEvent before the SDK decodes it:
// nine tenths of a page that nobody would read.
type bodyGuard struct {
	awscloudtrail.HTTPClient
	raw bool
}

func (g bodyGuard) Do(req *http.Request) (*http.Response, error) {
	resp, err := g.HTTPClient.Do(req)
	if err != nil {
		return resp, err
	}
	body := &pageBody{bodies.Get().(*bytes.Buffer)}
	_, err = body.ReadFrom(resp.Body)
	resp.Body.Close()
	success := resp.StatusCode/100 == 2 // as the SDK sees it
	if err == nil && success && isNoPage(body.Bytes()) {
		err = errNoPage
	}
	if err != nil {
		body.Close()
		return nil, err
	}
	switch {
	case !success:
		capitalizeMessage(body.Bytes())
	case !g.raw:
		body.Truncate(len(emptyCloudTrailEvents(body.Bytes())))
	}
	resp.Body, resp.ContentLength = body, int64(body.Len())
	return resp, nil
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// pageBody is a response's body. Closing it gives its memory to the next one,
// unless it is much larger than is usual.
type pageBody struct{ *bytes.Buffer }

func (b *pageBody) Close() error {
	if b.Cap() <= 1<<20 {
		b.Reset()
		bodies.Put(b.Buffer)
	}
	b.Buffer = new(bytes.Buffer)
	return nil
}

// isNoPage reports a body that isn't there or is an error's.
func isNoPage(body []byte) bool {
	return len(body) == 0 || !bytes.Contains(body, []byte(`"Events"`)) && bytes.Contains(body, []byte(`"__type"`))
}

// capitalizeMessage makes an error's "message" a "Message", in body's memory,
// unless it has one. Quotes within a text are escaped.
func capitalizeMessage(body []byte) {
	if i := bytes.Index(body, []byte(`"message"`)); i >= 0 && !bytes.Contains(body, []byte(`"Message"`)) {
		body[i+1] = 'M'
	}
}

// emptyCloudTrailEvents empties the texts of that name, in page's memory. A
// quote within a text is escaped, so a text followed by a colon is a name.
func emptyCloudTrailEvents(page []byte) []byte {
	kept := page[:0]
	for {
		start, end := nextText(page)
		isName := string(page[start:end]) == `"CloudTrailEvent"`
		kept, page = append(kept, page[:end]...), page[end:]
		if start == end {
			return kept
		}
		if isName {
			start, end := nextText(page)
			if string(bytes.TrimSpace(page[:start])) == ":" && start < end {
				kept, page = append(append(kept, page[:start]...), `""`...), page[end:]
			}
		}
	}
}

// nextText returns where the first text of a JSON is, quotes included; both
// are its length if there is none, or no end of it.
func nextText(json []byte) (start, end int) {
	start = bytes.IndexByte(json, '"')
	for end = start + 1; start >= 0; end++ {
		n := bytes.IndexByte(json[end:], '"')
		if n < 0 {
			break
		}
		end += n
		backslashes := 0
		for json[end-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return start, end + 1
		}
	}
	return len(json), len(json)
}
