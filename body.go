package cloudtrail

import (
	"bytes"
	"net/http"
	"sync"

	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
)

// bodyGuard stands between the SDK and the connection.
//
// It turns a success without a body into an error. The SDK decodes that to an empty
// success without NextToken, which would silently end the paging.
//
// Unless raw is set it empties every CloudTrailEvent before the SDK decodes it:
// nine tenths of a page that nobody would read.
type bodyGuard struct {
	awscloudtrail.HTTPClient
	raw bool
}

func (g bodyGuard) Do(req *http.Request) (*http.Response, error) {
	resp, err := g.HTTPClient.Do(req)
	if err != nil || resp.StatusCode/100 != 2 { // the SDK takes every 2xx for a success
		return resp, err
	}
	body := &pageBody{bodies.Get().(*bytes.Buffer)}
	_, err = body.ReadFrom(resp.Body)
	resp.Body.Close()
	if err == nil && body.Len() == 0 {
		err = errEmptyBody
	}
	if err != nil {
		body.Close()
		return nil, err
	}
	if !g.raw {
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
