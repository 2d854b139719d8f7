package cloudtrailtest

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"time"
)

// eventKind is a kind of management event that generated histories have.
type eventKind struct {
	name, source string
	readOnly     bool
	resourceType string // empty: the event names no resource
	prefix       string // of the resource's name
}

// eventKinds are as frequent as they stand here.
var eventKinds = [...]eventKind{
	{"DescribeInstances", "ec2.amazonaws.com", true, "", ""},
	{"AssumeRole", "sts.amazonaws.com", true, "AWS::IAM::Role", "arn:aws:iam::111122223333:role/app-"},
	{"Decrypt", "kms.amazonaws.com", true, "AWS::KMS::Key", "arn:aws:kms:us-east-1:111122223333:key/"},
	{"GetBucketAcl", "s3.amazonaws.com", true, "AWS::S3::Bucket", "logs-"},
	{"ListRoles", "iam.amazonaws.com", true, "", ""},
	{"GetParameter", "ssm.amazonaws.com", true, "AWS::SSM::Parameter", "/service/"},
	{"RunInstances", "ec2.amazonaws.com", false, "AWS::EC2::Instance", "i-"},
	{"CreateLogStream", "logs.amazonaws.com", false, "AWS::Logs::LogGroup", "/aws/lambda/fn-"},
	{"PutRolePolicy", "iam.amazonaws.com", false, "AWS::IAM::Role", "app-"},
	{"UpdateFunctionCode20150331v2", "lambda.amazonaws.com", false, "AWS::Lambda::Function", "fn-"},
}

var eventUsers = [...]string{"alice", "bob", "deploy", "i-0a1b2c3d4e5f60718", "terraform", "audit@example.com", "ci-runner"}

// Event makes event i.
func (g generated) Event(i int) Event {
	h := mix(g.seed, uint64(i), 3)
	kind := eventKinds[h%uint64(len(eventKinds))]
	user := eventUsers[h>>8%uint64(len(eventUsers))]
	e := Event{
		EventID:     EventID(g.seed, i),
		EventName:   kind.name,
		EventSource: kind.source,
		Username:    user,
		AccessKeyID: "ASIA" + keySuffix(mix(g.seed, h>>16%64, 4)),
		ReadOnly:    strconv.FormatBool(kind.readOnly),
		EventTime:   g.Time(i),
		Resources:   []Resource{},
	}
	if kind.resourceType != "" {
		name := kind.prefix + strconv.FormatUint(h>>24%4096, 16)
		e.Resources = []Resource{{Type: kind.resourceType, Name: name}}
	}
	if g.size > 0 {
		e.CloudTrailEvent = string(appendRecord(make([]byte, 0, max(g.size+256, 1024)), e, mix(g.seed, uint64(i), 5), g.size))
	}
	return e
}

// appendRecord appends the event's own JSON, with as many response elements as
// bring it to about that size.
func appendRecord(b []byte, e Event, h uint64, size int) []byte {
	start := len(b)
	b = append(b, `{"eventVersion":"1.11","eventID":"`...)
	b = append(append(b, e.EventID...), `","eventTime":"`...)
	b = append(e.EventTime.AppendFormat(b, time.RFC3339), `","eventSource":"`...)
	b = append(append(b, e.EventSource...), `","eventName":"`...)
	b = append(append(b, e.EventName...), `","readOnly":`...)
	b = append(append(b, e.ReadOnly...), `,"awsRegion":"us-east-1","eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"`+AccountID+`","eventCategory":"Management"`...)
	if size > 700 {
		b = append(b, `,"userIdentity":{"type":"AssumedRole","principalId":"AROAIDPPEZS35WEXAMPLE:`...)
		b = append(append(b, e.Username...), `","arn":"arn:aws:sts::`+AccountID+`:assumed-role/app/`...)
		b = append(append(b, e.Username...), `","accountId":"`+AccountID+`","accessKeyId":"`...)
		b = append(append(b, e.AccessKeyID...), `","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAIDPPEZS35WEXAMPLE","arn":"arn:aws:iam::`+AccountID+`:role/app","accountId":"`+AccountID+`","userName":"app"},"attributes":{"mfaAuthenticated":"false"}}}`...)
		b = append(b, `,"sourceIPAddress":"192.0.2.`...)
		b = strconv.AppendUint(b, h%256, 10)
		b = append(b, `","userAgent":"aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26 md/GOOS#linux md/GOARCH#amd64"`...)
		b = append(b, `,"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256"},"requestID":"`...)
		b = append(appendUUID(b, h, 0), '"')
	}
	b = append(b, `,"requestParameters":null,"responseElements":{"items":[`...)
	for n := uint64(0); len(b)-start < size-160; n++ {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"i-`...)
		b = strconv.AppendUint(b, mix(h, n, 6)|1<<63, 16)
		b = append(b, `","state":{"code":16,"name":"running"},"tags":[{"key":"Name","value":"worker-`...)
		b = strconv.AppendUint(b, mix(h, n, 7)%1000, 10)
		b = append(b, `"}]}`...)
	}
	return append(b, `]}}`...)
}

// keySuffix returns sixteen characters of an access key id.
func keySuffix(h uint64) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [16]byte
	for k := range id {
		id[k] = digits[h>>(4*k)%32]
	}
	return string(id[:])
}

// letters returns n upper-case characters that depend on s.
func letters(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return base32.StdEncoding.EncodeToString(sum[:])[:n]
}
